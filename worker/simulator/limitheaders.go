package simulator

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// LimitHeaders says what answers tell of the limits. It is a flag value; empty means LimitHeadersAll.
type LimitHeaders string

const (
	// LimitHeadersAll sends the service's anthropic-ratelimit headers, and retry-after with a refusal.
	LimitHeadersAll LimitHeaders = "all"
	// LimitHeadersNone sends retry-after alone, as most gateways and self-hosted servers do.
	LimitHeadersNone LimitHeaders = "none"
	// LimitHeadersSilent sends nothing: a refusal is a bare 429.
	LimitHeadersSilent LimitHeaders = "silent"
	// LimitHeadersJump lets each answer tell of another account, at random, as a gateway over several of them does: limits of
	// a quarter, once or three times what holds, with anything left of them. Retry-after is true.
	LimitHeadersJump LimitHeaders = "jump"
	// LimitHeadersNonsense fills the headers at random with what cannot be: negative, zero, no number, long past, ten years
	// ahead. Retry-after is true.
	LimitHeadersNonsense LimitHeaders = "nonsense"
)

var limitHeaders = []LimitHeaders{LimitHeadersAll, LimitHeadersNone, LimitHeadersSilent, LimitHeadersJump, LimitHeadersNonsense}

// Set reads a value.
func (l *LimitHeaders) Set(text string) error {
	v := LimitHeaders(text)
	if err := v.check(); err != nil {
		return err
	}
	*l = v
	return nil
}

func (l *LimitHeaders) check() error {
	if *l == "" || slices.Contains(limitHeaders, *l) {
		return nil
	}
	names := make([]string, len(limitHeaders))
	for i, v := range limitHeaders {
		names[i] = string(v)
	}
	return fmt.Errorf("limit headers %q: use one of %s", string(*l), strings.Join(names, ", "))
}

// String writes the value as Set reads it.
func (l *LimitHeaders) String() string { return string(*l) }

// Type names the value in a flag's help.
func (*LimitHeaders) Type() string { return "which" }

// limitHeaders sets the anthropic-ratelimit headers of an answer.
func (c *call) limitHeaders(h http.Header, now time.Time) {
	switch c.s.options.LimitHeaders {
	case "", LimitHeadersAll:
		c.s.limiter.writeHeaders(h, now)
	case LimitHeadersJump:
		c.s.limiter.writeJumping(h, now, &c.draws)
	case LimitHeadersNonsense:
		writeNonsense(h, now, &c.draws)
	case LimitHeadersNone, LimitHeadersSilent:
	}
}

// writeHeaders sets the headers for the limits there are.
func (l *limiter) writeHeaders(h http.Header, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range []*bucket{l.requests, l.input, l.output} {
		if b != nil {
			b.refill(now)
		}
	}
	headersOf(h, now, l.requests, l.input, l.output)
}

// accounts are the limits of the accounts behind a gateway, as shares of the one that holds.
var accounts = []float64{0.25, 1, 3}

// writeJumping sets the headers as one of several accounts would.
func (l *limiter) writeJumping(h http.Header, now time.Time, d *draw) {
	l.mu.Lock()
	defer l.mu.Unlock()
	share, full := accounts[d.below(len(accounts))], d.unit()
	account := func(b *bucket) *bucket {
		if b == nil {
			return nil
		}
		other := newBucket(max(1, int64(share*float64(b.perMinute))), l.burst, now)
		other.level *= full
		return other
	}
	headersOf(h, now, account(l.requests), account(l.input), account(l.output))
}

func headersOf(h http.Header, now time.Time, requests, in, out *bucket) {
	if b := requests; b != nil {
		h["Anthropic-Ratelimit-Requests-Limit"] = decimal(b.perMinute)
		h["Anthropic-Ratelimit-Requests-Remaining"] = decimal(int64(max(b.level, 0)))
		h["Anthropic-Ratelimit-Requests-Reset"] = b.reset(now)
	}
	if b := in; b != nil {
		h["Anthropic-Ratelimit-Input-Tokens-Limit"] = decimal(b.perMinute)
		h["Anthropic-Ratelimit-Input-Tokens-Remaining"] = decimal(b.thousands())
		h["Anthropic-Ratelimit-Input-Tokens-Reset"] = b.reset(now)
	}
	if b := out; b != nil {
		h["Anthropic-Ratelimit-Output-Tokens-Limit"] = decimal(b.perMinute)
		h["Anthropic-Ratelimit-Output-Tokens-Remaining"] = decimal(b.thousands())
		h["Anthropic-Ratelimit-Output-Tokens-Reset"] = b.reset(now)
	}
	if in != nil && out != nil {
		h["Anthropic-Ratelimit-Tokens-Limit"] = decimal(in.perMinute + out.perMinute)
		h["Anthropic-Ratelimit-Tokens-Remaining"] = decimal(in.thousands() + out.thousands())
		later := in
		if out.wait(out.capacity) > in.wait(in.capacity) {
			later = out
		}
		h["Anthropic-Ratelimit-Tokens-Reset"] = later.reset(now)
	}
}

// thousands is what remains, rounded to the nearest thousand as the service does for tokens.
func (b *bucket) thousands() int64 { return int64(math.Round(max(b.level, 0)/1000)) * 1000 }

// reset is when the bucket will be full, in RFC 3339.
func (b *bucket) reset(now time.Time) []string {
	full := now.Add(b.wait(b.capacity) + time.Second - 1).Truncate(time.Second)
	return []string{full.UTC().Format(time.RFC3339)}
}

// nonsense are values that no count has.
var nonsense = []string{"-1", "0", "many", "NaN", "1e309", "9223372036854775808"}

// writeNonsense sets all the headers, also where there are no limits.
func writeNonsense(h http.Header, now time.Time, d *draw) {
	count := func() []string { return []string{oneOf(nonsense, d)} }
	for _, kind := range []string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
		h["Anthropic-Ratelimit-"+kind+"-Limit"] = count()
		h["Anthropic-Ratelimit-"+kind+"-Remaining"] = count()
		years := []int{-10, 10}[d.below(2)]
		h["Anthropic-Ratelimit-"+kind+"-Reset"] = []string{oneOf([]string{now.AddDate(years, 0, 0).UTC().Format(time.RFC3339), "0", "soon"}, d)}
	}
}
