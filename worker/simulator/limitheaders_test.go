package simulator_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

// limited sends more calls than the burst has room for, and returns the headers of the answers and of a refusal.
func limited(t *testing.T, which simulator.LimitHeaders, calls int) (answers []http.Header, refusal http.Header) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{
			RequestsPerMinute: 60 * int64(calls), InputTokensPerMinute: 6_000_000, OutputTokensPerMinute: 6_000_000,
			Burst: time.Second, LimitHeaders: which,
		})
		for range calls {
			w := send(t, s, plainBody)
			if w.Code != http.StatusOK {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			answers = append(answers, w.Header())
		}
		w := send(t, s, plainBody)
		if w.Code != http.StatusTooManyRequests {
			t.Fatalf("got %d over the limit", w.Code)
		}
		refusal = w.Header()
	})
	return answers, refusal
}

func told(h http.Header) (names int) {
	for name := range h {
		if strings.HasPrefix(name, "Anthropic-Ratelimit-") {
			names++
		}
	}
	return names
}

func TestLimitHeadersLeftOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		which      simulator.LimitHeaders
		told       int
		retryAfter string
	}{
		{"", 12, "1"},
		{simulator.LimitHeadersAll, 12, "1"},
		{simulator.LimitHeadersNone, 0, "1"},
		{simulator.LimitHeadersSilent, 0, ""},
		{simulator.LimitHeadersJump, 12, "1"},
		{simulator.LimitHeadersNonsense, 12, "1"},
	} {
		t.Run(string(test.which), func(t *testing.T) {
			t.Parallel()
			answers, refusal := limited(t, test.which, 3)
			if told(answers[0]) != test.told || told(refusal) != test.told {
				t.Errorf("%d headers in an answer and %d in a refusal, want %d", told(answers[0]), told(refusal), test.told)
			}
			if got := refusal.Get("Retry-After"); got != test.retryAfter {
				t.Errorf("retry-after is %q, want %q", got, test.retryAfter)
			}
		})
	}
}

func TestLimitHeadersJump(t *testing.T) {
	t.Parallel()
	answers, _ := limited(t, simulator.LimitHeadersJump, 200)
	limits, remaining := map[string]int{}, map[string]bool{}
	for _, h := range answers {
		limits[h.Get("Anthropic-Ratelimit-Requests-Limit")]++
		left := h.Get("Anthropic-Ratelimit-Requests-Remaining")
		remaining[left] = true
		if n, err := strconv.Atoi(left); err != nil || n < 0 {
			t.Errorf("remaining is %q", left)
		}
	}
	if len(limits) != 3 || limits["3000"] < 30 || limits["12000"] < 30 || limits["36000"] < 30 || len(remaining) < 50 {
		t.Errorf("limits %v, and %d different remainders", limits, len(remaining))
	}
}

// No value is one that a careful reader takes for a limit, a remainder above 0, or a time to wait for.
func TestLimitHeadersNonsense(t *testing.T) {
	t.Parallel()
	answers, _ := limited(t, simulator.LimitHeadersNonsense, 200)
	seen := map[string]bool{}
	for _, h := range answers {
		for _, kind := range []string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
			for _, count := range []string{"-Limit", "-Remaining"} {
				text := h.Get("Anthropic-Ratelimit-" + kind + count)
				seen[text] = true
				if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
					t.Errorf("%s%s is %q", kind, count, text)
				}
			}
			text := h.Get("Anthropic-Ratelimit-" + kind + "-Reset")
			seen[text] = true
			if at, err := time.Parse(time.RFC3339, text); err == nil && at.Before(time.Now().AddDate(9, 0, 0)) && at.After(time.Now().AddDate(-9, 0, 0)) {
				t.Errorf("reset is %q", text)
			}
		}
	}
	for _, text := range []string{"-1", "0", "many", "soon"} {
		if !seen[text] {
			t.Errorf("%q never came", text)
		}
	}
}

func TestLimitHeadersValue(t *testing.T) {
	t.Parallel()
	var l simulator.LimitHeaders
	if err := l.Set("jump"); err != nil || l != simulator.LimitHeadersJump || l.String() != "jump" {
		t.Errorf("got %q, %v", l, err)
	}
	if err := l.Set("sometimes"); err == nil || !strings.Contains(err.Error(), "all, none, silent, jump, nonsense") || l != simulator.LimitHeadersJump {
		t.Errorf("got %q, %v", l, err)
	}
	if err := (&simulator.Options{LimitHeaders: "sometimes"}).Validate(); err == nil {
		t.Error("an unknown value is valid")
	}
}
