package simulator_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

func TestSetLimitsWhileServing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{})
		if w := send(t, s, plainBody); w.Code != http.StatusOK || w.Header().Get("Anthropic-Ratelimit-Requests-Limit") != "" {
			t.Fatalf("without limits: got %d %v", w.Code, w.Header())
		}
		s.SetLimits(6, 0, 0) // a burst of 10 s holds one
		for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
			w := send(t, s, plainBody)
			if w.Code != want || w.Header().Get("Anthropic-Ratelimit-Requests-Limit") != "6" {
				t.Errorf("call %d: got %d %v, want %d", i, w.Code, w.Header(), want)
			}
		}
		s.SetLimits(0, 0, 0)
		if w := send(t, s, plainBody); w.Code != http.StatusOK {
			t.Errorf("with the limits gone: got %d", w.Code)
		}
	})
}

// What the limits let through is counted by their own measure, so that two Stats tell the use of a limit in between.
func TestStatsCountWhatLimitsLetThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{RequestsPerMinute: 60, Burst: 3 * time.Second})
		send(t, s, cachedBody("abcd", "", "12345678"))
		before := s.Stats()
		send(t, s, cachedBody("abcd", "", "1234")) // reads the cache: one token counts
		send(t, s, "{}")                           // invalid: no limit sees it
		send(t, s, plainBody)
		send(t, s, plainBody) // over the limit
		after := s.Stats()
		if before.Admitted != 1 || before.ChargedInputTokens != 5002 || before.Refused != 0 {
			t.Errorf("before: %+v", before)
		}
		if n := after.Admitted - before.Admitted; n != 2 {
			t.Errorf("%d admitted, want 2", n)
		}
		if n := after.ChargedInputTokens - before.ChargedInputTokens; n != 1+5 {
			t.Errorf("%d input tokens, want 6", n)
		}
		if n := after.Refused - before.Refused; n != 1 || after.ByStatus[http.StatusTooManyRequests] != 1 {
			t.Errorf("%d refused, want 1", n)
		}
		if after.ChargedOutputTokens != after.OutputTokens || after.OutputTokens == before.OutputTokens {
			t.Errorf("output: %+v", after)
		}
	})
}

// The service charges what it has produced also when its answer is lost; injected 429s are no limit's.
func TestStatsOfFaultsAndLimits(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Options{Errors: simulator.Faults{{Kind: "429", Share: 1}}})
	send(t, s, plainBody)
	if got := s.Stats(); got.Refused != 0 || got.ByStatus[http.StatusTooManyRequests] != 1 || got.ChargedInputTokens != 5 || got.InputTokens != 0 {
		t.Errorf("got %+v", got)
	}
}
