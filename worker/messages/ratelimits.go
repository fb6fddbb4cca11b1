package messages

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RateLimits is what an answer says about the account's limits (API documentation, "Rate limits", response headers).
type RateLimits struct {
	Requests     Window
	Tokens       Window
	InputTokens  Window
	OutputTokens Window
}

// Window is one limit: so many requests or tokens a minute.
type Window struct {
	// Limit is the number a minute; 0 when not given.
	Limit int64
	// Remaining is what is left now, tokens rounded to the nearest thousand; valid only when HasRemaining.
	Remaining    int64
	HasRemaining bool
	// Reset is when all of Limit is there again; zero when not given.
	Reset time.Time
}

const (
	// maxReset bounds a reset time: windows are minutes long, so one a day ahead is another clock's.
	maxReset = 24 * time.Hour
	// maxCount bounds a number a minute; the largest real ones are 10 million.
	maxCount = 1_000_000_000_000
)

// ParseRateLimits reads the anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}
// headers. Each that makes no sense (no number, negative, a time in the past or more than a day ahead) counts as
// not given: gateways copy and invent them.
func ParseRateLimits(h http.Header, now time.Time) RateLimits {
	return RateLimits{
		Requests:     parseWindow(h, "Anthropic-Ratelimit-Requests-", now),
		Tokens:       parseWindow(h, "Anthropic-Ratelimit-Tokens-", now),
		InputTokens:  parseWindow(h, "Anthropic-Ratelimit-Input-Tokens-", now),
		OutputTokens: parseWindow(h, "Anthropic-Ratelimit-Output-Tokens-", now),
	}
}

func parseWindow(h http.Header, prefix string, now time.Time) Window {
	var w Window
	w.Limit, _ = parseCount(h.Get(prefix + "Limit"))
	w.Remaining, w.HasRemaining = parseCount(h.Get(prefix + "Remaining"))
	reset, err := time.Parse(time.RFC3339, strings.TrimSpace(h.Get(prefix+"Reset")))
	if err == nil && reset.After(now) && !reset.After(now.Add(maxReset)) {
		w.Reset = reset
	}
	return w
}

func parseCount(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 || n > maxCount {
		return 0, false
	}
	return n, true
}

// Limit is which of an account's limits refused a call.
type Limit int

// The limits that a refusal may name.
const (
	LimitUnknown Limit = iota
	LimitRequests
	LimitInput
	LimitOutput
	LimitTokens
)

// limitNamed reads from the text of a 429 which limit it was. The wording is not promised, so it is only a hint; where it
// says nothing, headers do, or nothing does.
func limitNamed(message string) Limit {
	text := strings.ToLower(message)
	for _, named := range []struct {
		words string
		limit Limit
	}{
		{"input token", LimitInput}, {"output token", LimitOutput}, {"tokens per minute", LimitTokens}, {"request", LimitRequests},
	} {
		if strings.Contains(text, named.words) {
			return named.limit
		}
	}
	return LimitUnknown
}
