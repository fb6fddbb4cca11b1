package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

// received is what a call over the network brought: as much of the body as came, and why no more.
type received struct {
	status int // 0: no answer
	kind   string
	body   string
	err    error
}

// serve listens with these options until the test ends, and returns a function that makes a call over the network.
func serve(t *testing.T, options simulator.Options) (*simulator.Server, func(context.Context, string) received) {
	t.Helper()
	server, err := simulator.Listen(t.Context(), "127.0.0.1:0", options)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server, func(ctx context.Context, body string) received {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/messages", strings.NewReader(body))
		if err != nil {
			return received{err: err}
		}
		r.GetBody = nil // so that the transport does not send a call again by itself
		r.Header = newRequest(ctx, "/", "").Header
		response, err := transport.RoundTrip(r)
		if err != nil {
			return received{err: err}
		}
		defer response.Body.Close()
		read, err := io.ReadAll(response.Body)
		return received{response.StatusCode, response.Header.Get("Content-Type"), string(read), err}
	}
}

func TestErrorStatuses(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"400": "invalid_request_error", "401": "authentication_error", "402": "billing_error", "403": "permission_error",
		"404": "not_found_error", "409": "conflict_error", "413": "request_too_large", "429": "rate_limit_error",
		"500": "api_error", "502": "api_error", "503": "api_error", "504": "timeout_error", "529": "overloaded_error",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := simulator.New(simulator.Options{Errors: simulator.Faults{{Kind: kind, Share: 1}}})
			w := send(t, s, plainBody)
			if fmt.Sprint(w.Code) != kind || gjson.Get(w.Body.String(), "error.type").Str != want {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if after := w.Header().Get("Retry-After"); (after != "") != (kind == "429") {
				t.Errorf("retry-after is %q", after)
			}
			if stats := s.Stats(); stats.Answered != 0 || stats.ByStatus[w.Code] != 1 {
				t.Errorf("got %+v", stats)
			}
		})
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	streamed := with(`"stream":true`)
	for _, test := range []struct {
		kind, body string
		// brings is what must have come.
		brings func(received) bool
	}{
		{"reset", plainBody, func(r received) bool { return r.status == 0 && errors.Is(r.err, syscall.ECONNRESET) }},
		{"cut", plainBody, func(r received) bool {
			return r.status == http.StatusOK && errors.Is(r.err, io.ErrUnexpectedEOF) && r.body != "" && !gjson.Valid(r.body)
		}},
		{"cut", streamed, func(r received) bool {
			return r.status == http.StatusOK && strings.Contains(r.body, "message_start") && !strings.Contains(r.body, "message_stop")
		}},
		{"empty", plainBody, func(r received) bool { return r.status == http.StatusOK && r.body == "" && r.err == nil }},
		{"html", plainBody, func(r received) bool {
			return r.status == http.StatusOK && strings.HasPrefix(r.kind, "text/html") && strings.Contains(r.body, "<html>") && r.err == nil
		}},
		{"error200", plainBody, func(r received) bool {
			return r.status == http.StatusOK && gjson.Get(r.body, "error.message").Exists() && r.err == nil
		}},
		{"error200", streamed, func(r received) bool {
			_, last, found := strings.Cut(r.body, "event: error\ndata: ")
			return r.status == http.StatusOK && found && gjson.Get(last, "error.type").Str == "overloaded_error" && r.err == nil
		}},
	} {
		t.Run(fmt.Sprintf("%s streamed %t", test.kind, test.body == streamed), func(t *testing.T) {
			t.Parallel()
			s, call := serve(t, simulator.Options{Errors: simulator.Faults{{Kind: test.kind, Share: 1}}})
			if got := call(t.Context(), test.body); !test.brings(got) {
				t.Errorf("got %+v", got)
			}
			if stats := s.Stats(); stats.Broken != 1 || stats.Answered != 0 {
				t.Errorf("got %+v", stats)
			}
		})
	}
}

// A stream that is cut must come in both ways: one that reading reports, and one that only the missing end tells.
func TestCutStreamsEndBothWays(t *testing.T) {
	t.Parallel()
	_, call := serve(t, simulator.Options{Errors: simulator.Faults{{Kind: "cut", Share: 1}}})
	broken, short := 0, 0
	for range 40 {
		if call(t.Context(), with(`"stream":true`)).err != nil {
			broken++
		} else {
			short++
		}
	}
	if broken < 5 || short < 5 {
		t.Errorf("%d streams broke and %d ended in order", broken, short)
	}
}

func TestErrorsAreDrawnForEachCall(t *testing.T) {
	t.Parallel()
	var errs simulator.Faults
	if err := errs.Set("529=20%, 500=0.1"); err != nil {
		t.Fatal(err)
	}
	statuses := func(seed uint64) (drawn []int, counts map[int]int) {
		s := simulator.New(simulator.Options{Errors: errs, Seed: seed})
		counts = map[int]int{}
		for range 1000 {
			code := send(t, s, plainBody).Code
			drawn = append(drawn, code)
			counts[code]++
		}
		return drawn, counts
	}
	first, counts := statuses(1)
	if counts[529] < 150 || counts[529] > 250 || counts[500] < 60 || counts[500] > 140 || counts[200]+counts[529]+counts[500] != 1000 {
		t.Errorf("got %v", counts)
	}
	if again, _ := statuses(1); !cmp.Equal(first, again) {
		t.Error("the same seed draws other faults")
	}
	if other, _ := statuses(2); cmp.Equal(first, other) {
		t.Error("another seed draws the same faults")
	}
}

func TestDeterministicFaultsFollowTheRequest(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Options{Deterministic: simulator.Faults{{Kind: "500", Share: 0.1}}})
	failed := 0
	for i := range 500 {
		body := strings.Replace(plainBody, "card", fmt.Sprint("card", i), 1)
		code := send(t, s, body).Code
		if code == 500 {
			failed++
		}
		for range 3 {
			if again := send(t, s, body).Code; again != code {
				t.Fatalf("request %d got %d, then %d", i, code, again)
			}
		}
	}
	if failed < 25 || failed > 85 {
		t.Errorf("%d of 500 requests fail, want a tenth", failed)
	}
}

func TestSpendCap(t *testing.T) {
	t.Parallel()
	for status, check := range map[int]func(gjson.Result) bool{
		0: func(e gjson.Result) bool { return e.Get("details.error_code").Str == "enforced_spend_limit_reached" },
		400: func(e gjson.Result) bool {
			return strings.HasPrefix(e.Get("message").Str, "You have reached your specified API usage limits")
		},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := simulator.New(simulator.Options{SpendCap: 2, SpendCapStatus: status})
			over := status
			if over == 0 {
				over = http.StatusTooManyRequests
			}
			for i, want := range []int{200, 200, over, over} {
				w := send(t, s, plainBody)
				if w.Code != want {
					t.Fatalf("call %d got %d %s", i, w.Code, w.Body)
				}
				if want != 200 && (!check(gjson.Get(w.Body.String(), "error")) || w.Header().Get("Retry-After") != "") {
					t.Errorf("call %d got %v %s", i, w.Header(), w.Body)
				}
			}
		})
	}
}

func TestHungCallEndsWithItsClient(t *testing.T) {
	t.Parallel()
	s, call := serve(t, simulator.Options{Hang: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := call(ctx, plainBody); !errors.Is(got.err, context.DeadlineExceeded) {
		t.Fatalf("got %+v", got)
	}
	for deadline := time.Now().Add(5 * time.Second); s.Stats().InFlight > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the call is still in flight")
		}
	}
	if stats := s.Stats(); stats.Abandoned != 1 || stats.Answered != 0 {
		t.Errorf("got %+v", stats)
	}
}

func TestCloseBreaksOpenCalls(t *testing.T) {
	t.Parallel()
	server, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Hang: 1})
	if err != nil {
		t.Fatal(err)
	}
	const calls = 50
	ended := make(chan error, calls)
	for range calls {
		go func() {
			r := newRequest(context.Background(), server.URL+"/v1/messages", plainBody)
			r.RequestURI = ""
			response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
			if err == nil {
				response.Body.Close()
			}
			ended <- err
		}()
	}
	for ; server.Stats().InFlight < calls; runtime.Gosched() {
		select {
		case err := <-ended:
			t.Fatalf("a call ended before its time: %v", err)
		default:
		}
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if n := server.Stats().InFlight; n != 0 {
		t.Errorf("%d calls are in flight after Close", n)
	}
	for range calls {
		if err := <-ended; err == nil {
			t.Error("an open call got an answer")
		}
	}
}

func TestListenChecks(t *testing.T) {
	t.Parallel()
	if _, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Ramp: time.Second}); err == nil {
		t.Error("options that cannot be are accepted")
	}
	if _, err := simulator.Listen(t.Context(), "127.0.0.1:-1", simulator.Options{}); err == nil {
		t.Error("an address that cannot be is accepted")
	}
}

func TestFlagValues(t *testing.T) {
	t.Parallel()
	type value interface {
		Set(string) error
		String() string
	}
	for _, test := range []struct {
		name string
		v    value
		text string
		want string // as String has it; empty: an error
	}{
		{"percent", new(simulator.Share), "2.5%", "2.5%"},
		{"fraction", new(simulator.Share), " 0.02 ", "2%"},
		{"none", new(simulator.Share), "0%", "0"},
		{"whole", new(simulator.Share), "1", "100%"},
		{"too much", new(simulator.Share), "101%", ""},
		{"negative", new(simulator.Share), "-1%", ""},
		{"not a number", new(simulator.Share), "NaN", ""},
		{"empty", new(simulator.Share), "", ""},
		{"faults", new(simulator.Faults), "529=1%, reset=0.002,", "529=1%,reset=0.2%"},
		{"fault of no kind", new(simulator.Faults), "52=1%", ""},
		{"fault of a status that is none", new(simulator.Faults), "600=1%", ""},
		{"fault that is success", new(simulator.Faults), "200=1%", ""},
		{"fault without share", new(simulator.Faults), "529", ""},
		{"fault with a wrong share", new(simulator.Faults), "529=lots", ""},
		{"faults over all calls", new(simulator.Faults), "529=60%,500=60%", ""},
		{"outage", new(simulator.Outages), "30s@2m", "30s@2m0s:529"},
		{"outages", new(simulator.Outages), "30s@2m:reset,1h@0s:503", "30s@2m0s:reset,1h0m0s@0s:503"},
		{"outage without start", new(simulator.Outages), "30s", ""},
		{"outage of no length", new(simulator.Outages), "0s@2m", ""},
		{"outage before the start", new(simulator.Outages), "1s@-2m", ""},
		{"outage of no kind", new(simulator.Outages), "1s@2m:rain", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.v.Set(test.text)
			if (err == nil) != (test.want != "") {
				t.Fatalf("got %v", err)
			}
			if err == nil && test.v.String() != test.want {
				t.Errorf("got %s, want %s", test.v, test.want)
			}
		})
	}
}
