package simulator_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

// latencies returns how long n calls take, in order of length.
func latencies(t *testing.T, options simulator.Options, n int) []time.Duration {
	t.Helper()
	s := simulator.New(options)
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if w := send(t, s, plainBody); w.Code != http.StatusOK {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took
}

func TestLatency(t *testing.T) {
	t.Parallel()
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			if took := latencies(t, simulator.Options{}, 10); took[9] != 0 {
				t.Errorf("took %v", took[9])
			}
		})
	})
	t.Run("fixed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			took := latencies(t, simulator.Options{Latency: 250 * time.Millisecond}, 10)
			if took[0] != 250*time.Millisecond || took[9] != 250*time.Millisecond {
				t.Errorf("took %v to %v", took[0], took[9])
			}
		})
	})
	t.Run("lognormal", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			took := latencies(t, simulator.Options{Latency: time.Second, LatencySigma: 0.5}, 2000)
			median, p95 := took[1000].Seconds(), took[1900].Seconds()
			if math.Abs(median-1) > 0.05 || math.Abs(p95-math.Exp(0.5*1.645)) > 0.2 {
				t.Errorf("median %v and 95th percentile %v", median, p95)
			}
		})
	})
	t.Run("by output token", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			tokens := gjson.Get(send(t, simulator.New(simulator.Options{}), plainBody).Body.String(), "usage.output_tokens").Int()
			took := latencies(t, simulator.Options{TokenTime: time.Millisecond}, 1)
			if took[0] != time.Duration(tokens)*time.Millisecond {
				t.Errorf("%d tokens took %v", tokens, took[0])
			}
		})
	})
	t.Run("slow calls", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			took := latencies(t, simulator.Options{Latency: time.Second, Slow: 0.1, SlowFactor: 20}, 500)
			slow := 0
			for _, d := range took {
				switch d {
				case time.Second:
				case 20 * time.Second:
					slow++
				default:
					t.Fatalf("a call took %v", d)
				}
			}
			if slow < 25 || slow > 80 {
				t.Errorf("%d of 500 calls are slow", slow)
			}
		})
	})
}

func TestRateLimitAnswers429(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{RequestsPerMinute: 60, Burst: 3 * time.Second})
		for range 3 {
			w := send(t, s, plainBody)
			if w.Code != http.StatusOK || w.Header().Get("Anthropic-Ratelimit-Requests-Limit") != "60" {
				t.Fatalf("got %d %v", w.Code, w.Header())
			}
		}
		w := send(t, s, plainBody)
		if w.Code != http.StatusTooManyRequests || gjson.Get(w.Body.String(), "error.type").Str != "rate_limit_error" ||
			w.Header().Get("Retry-After") != "1" || w.Header().Get("Anthropic-Ratelimit-Requests-Remaining") != "0" {
			t.Fatalf("got %d %v %s", w.Code, w.Header(), w.Body)
		}
		if gjson.Get(w.Body.String(), "error.details").Exists() {
			t.Errorf("an ordinary refusal has details: %s", w.Body)
		}
		time.Sleep(time.Second) // within synctest: exactly the retry-after
		if w := send(t, s, plainBody); w.Code != http.StatusOK {
			t.Errorf("after retry-after: got %d", w.Code)
		}
	})
}

func TestRampAnswers429WithItsCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{RequestsPerMinute: 600, Ramp: time.Minute})
		send(t, s, plainBody)
		w := send(t, s, plainBody)
		if w.Code != http.StatusTooManyRequests || gjson.Get(w.Body.String(), "error.details.error_code").Str != "ramp_limit_exceeded" || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
		}
	})
}

func TestOutputLimitIsChargedAsProduced(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"document": plainBody, "stream": with(`"stream":true`)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := simulator.New(simulator.Options{OutputTokensPerMinute: 60, Burst: 10 * time.Second})
				start := time.Now()
				if w := send(t, s, body); w.Code != http.StatusOK {
					t.Fatalf("got %d", w.Code)
				}
				tokens := s.Stats().OutputTokens
				w := send(t, s, body)
				after, err := time.ParseDuration(w.Header().Get("Retry-After") + "s")
				if want := time.Duration(tokens-10+1) * time.Second; w.Code != http.StatusTooManyRequests || err != nil || after != want {
					t.Fatalf("after %d tokens at one a second: got %d with retry-after %v, want %v", tokens, w.Code, after, want)
				}
				time.Sleep(after)
				if w := send(t, s, body); w.Code != http.StatusOK {
					t.Errorf("after %v: got %d", time.Since(start), w.Code)
				}
			})
		})
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var outages simulator.Outages
		if err := outages.Set("30s@2m,10s@5m:503"); err != nil {
			t.Fatal(err)
		}
		s := simulator.New(simulator.Options{Outages: outages})
		start := time.Now()
		for _, step := range []struct {
			at   time.Duration
			want int
		}{
			{0, 200},
			{2*time.Minute - 1, 200},
			{2 * time.Minute, 529},
			{2*time.Minute + 30*time.Second - 1, 529},
			{2*time.Minute + 30*time.Second, 200},
			{5 * time.Minute, 503},
			{6 * time.Minute, 200},
		} {
			time.Sleep(step.at - time.Since(start))
			if w := send(t, s, plainBody); w.Code != step.want {
				t.Errorf("after %v: got %d, want %d", step.at, w.Code, step.want)
			}
		}
	})
}

func TestEarlyFaultsCostNoLatency(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]time.Duration{"529": 0, "503": 0, "429": 0, "400": 0, "500": time.Second, "502": time.Second, "empty": time.Second} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := simulator.New(simulator.Options{Latency: time.Second, Errors: simulator.Faults{{Kind: kind, Share: 1}}})
				start := time.Now()
				send(t, s, plainBody)
				if took := time.Since(start); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		})
	}
}

// cachedBody has a system prompt that can be cached, of about 5,000 tokens, and a question.
func cachedBody(system, ttl, question string) string {
	return `{"model":"claude-haiku-4-5","max_tokens":10,"system":[{"type":"text","text":"` + strings.Repeat(system, 5000) +
		`","cache_control":{"type":"ephemeral"` + ttl + `}}],"messages":[{"role":"user","content":"` + question + `"}]}`
}

func TestPromptCache(t *testing.T) {
	t.Parallel()
	type tokens struct{ input, read, write5m, write1h int64 }
	const prefix = 5000
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{})
		usage := func(body string) tokens {
			w := send(t, s, body)
			if w.Code != http.StatusOK {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			u := gjson.Get(w.Body.String(), "usage")
			got := tokens{
				u.Get("input_tokens").Int(), u.Get("cache_read_input_tokens").Int(),
				u.Get("cache_creation.ephemeral_5m_input_tokens").Int(), u.Get("cache_creation.ephemeral_1h_input_tokens").Int(),
			}
			if u.Get("cache_creation_input_tokens").Int() != got.write5m+got.write1h {
				t.Errorf("the writes do not add up: %s", u)
			}
			return got
		}
		const hour = `,"ttl":"1h"`
		for _, step := range []struct {
			name string
			wait time.Duration
			body string
			want tokens
		}{
			{"the first writes", 0, cachedBody("abcd", "", "12345678"), tokens{2, 0, prefix, 0}},
			{"the next reads", 0, cachedBody("abcd", "", "1234"), tokens{1, prefix, 0, 0}},
			{"another prefix writes", 0, cachedBody("abce", "", "1234"), tokens{1, 0, prefix, 0}},
			{"another model writes", 0, strings.Replace(cachedBody("abcd", "", "1234"), "haiku", "sonnet", 1), tokens{1, 0, prefix, 0}},
			{"a read prolongs", 4 * time.Minute, cachedBody("abcd", "", "1234"), tokens{1, prefix, 0, 0}},
			{"so that this one reads", 4 * time.Minute, cachedBody("abcd", "", "1234"), tokens{1, prefix, 0, 0}},
			{"and this one comes too late", 5 * time.Minute, cachedBody("abcd", "", "1234"), tokens{1, 0, prefix, 0}},
			{"an hour's write", 0, cachedBody("hour", hour, "1234"), tokens{1, 0, 0, prefix}},
			{"lasts", 59 * time.Minute, cachedBody("hour", hour, "1234"), tokens{1, prefix, 0, 0}},
			{"too short to be cached", 0, strings.Replace(cachedBody("abcd", "", "1234"), strings.Repeat("abcd", 1000), "", 1), tokens{4001, 0, 0, 0}},
		} {
			time.Sleep(step.wait)
			if got := usage(step.body); got != step.want {
				t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
			}
		}
		// Automatic caching marks the last block: the next turn of a conversation reads all turns before it.
		turn := func(messages string) string {
			return `{"model":"claude-haiku-4-5","max_tokens":10,"cache_control":{"type":"ephemeral"},"messages":[` + messages + `]}`
		}
		first := `{"role":"user","content":"` + strings.Repeat("turn", 5000) + `"}`
		if got := usage(turn(first)); got != (tokens{0, 0, prefix, 0}) {
			t.Errorf("the first turn: %+v", got)
		}
		if got := usage(turn(first + `,{"role":"assistant","content":"1234"},{"role":"user","content":"1234"}`)); got != (tokens{0, prefix, 2, 0}) {
			t.Errorf("the second turn: %+v", got)
		}
	})
}

func TestRequestsSideBySideAllWriteTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{Latency: time.Second})
		var calls sync.WaitGroup
		for i := range 5 {
			calls.Go(func() { send(t, s, cachedBody("abcd", "", fmt.Sprint(i))) })
		}
		calls.Wait()
		if stats := s.Stats(); stats.CacheWriteTokens != 5*5000 || stats.CacheReadTokens != 0 || stats.MaxInFlight != 5 || stats.InFlight != 0 {
			t.Errorf("got %+v", stats)
		}
	})
}

func TestCacheReadsDoNotCountAgainstTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{InputTokensPerMinute: 60_000, Burst: 6 * time.Second})
		for i := range 20 {
			if w := send(t, s, cachedBody("abcd", "", fmt.Sprint(i))); w.Code != http.StatusOK {
				t.Fatalf("call %d got %d %s", i, w.Code, w.Body)
			}
		}
		if w := send(t, s, cachedBody("abce", "", "a")); w.Code != http.StatusTooManyRequests {
			t.Errorf("another prefix over the limit got %d", w.Code)
		}
	})
}
