package simulator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"go.uber.org/goleak"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/worker/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const plainBody = `{"model":"claude-haiku-4-5-20251001","max_tokens":200,"messages":[{"role":"user","content":"Where is my card?"}]}`

// newRequest is a call that the service would accept.
func newRequest(ctx context.Context, path, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer key")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	r.Header.Set("Content-Type", "application/json")
	return r
}

// send makes one call without a network.
func send(t *testing.T, s *simulator.Simulator, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := newRequest(t.Context(), "/v1/messages", body)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestAnswerIsAMessage(t *testing.T) {
	t.Parallel()
	w := send(t, simulator.New(simulator.Options{}), plainBody)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %q: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if !gjson.ValidBytes(w.Body.Bytes()) {
		t.Fatalf("not JSON: %s", w.Body)
	}
	m := gjson.ParseBytes(w.Body.Bytes())
	for path, want := range map[string]string{
		"type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001", "stop_reason": "end_turn",
		"content.0.type": "text", "content.#": "1", "usage.service_tier": "standard", "usage.input_tokens": "5",
	} {
		if got := m.Get(path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if !strings.HasPrefix(m.Get("id").Str, "msg_") {
		t.Errorf("id is %q", m.Get("id").Str)
	}
	text := m.Get("content.0.text").Str
	if !strings.HasPrefix(text, "Simulated answer. ") {
		t.Errorf("the text does not say that it is simulated: %q", text)
	}
	if out := m.Get("usage.output_tokens").Int(); out != int64(len(text)+3)/4 || out > 200 {
		t.Errorf("%d output tokens for %d bytes", out, len(text))
	}
	if w.Header().Get("Request-Id") == "" || w.Header().Get("Anthropic-Organization-Id") == "" {
		t.Errorf("headers are missing: %v", w.Header())
	}
}

func TestSameBodySameAnswer(t *testing.T) {
	t.Parallel()
	one, other := simulator.New(simulator.Options{Seed: 1}), simulator.New(simulator.Options{Seed: 2})
	first, again, elsewhere := send(t, one, plainBody), send(t, one, plainBody), send(t, other, plainBody)
	if first.Body.String() != again.Body.String() || first.Body.String() != elsewhere.Body.String() {
		t.Errorf("the answers differ:\n%s\n%s\n%s", first.Body, again.Body, elsewhere.Body)
	}
	if id := first.Header().Get("Request-Id"); id == again.Header().Get("Request-Id") || id == elsewhere.Header().Get("Request-Id") {
		t.Error("two calls have the same request id")
	}
	changed := send(t, one, strings.Replace(plainBody, "card", "cart", 1))
	if gjson.Get(changed.Body.String(), "id").Str == gjson.Get(first.Body.String(), "id").Str {
		t.Error("another body has the same message id")
	}
}

func TestStatsEndpoint(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Options{Record: true})
	send(t, s, plainBody)
	send(t, s, plainBody)
	send(t, s, "{}")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, simulator.StatsPath, nil))
	var got simulator.Stats
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Calls != 3 || got.Answered != 2 || got.Repeated != 1 || got.ByStatus[200] != 2 || got.ByStatus[400] != 1 || got.InFlight != 0 || got.MaxInFlight != 1 {
		t.Errorf("got %+v", got)
	}
	if got.InputTokens != 10 || got.OutputTokens == 0 {
		t.Errorf("tokens: %+v", got)
	}
	if n := s.Answered(jobs.DigestOf([]byte(plainBody))); n != 2 {
		t.Errorf("the body was answered %d times, want 2", n)
	}
}

func BenchmarkHandler(b *testing.B) {
	s := simulator.New(simulator.Options{})
	body := strings.Replace(plainBody, "Where is my card?", strings.Repeat("Where is my card? ", 40), 1)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, newRequest(b.Context(), "/v1/messages", body))
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkServer(b *testing.B) {
	server, err := simulator.Listen(b.Context(), "127.0.0.1:0", simulator.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 128}
	defer transport.CloseIdleConnections()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := newRequest(b.Context(), "/v1/messages", plainBody)
			r.RequestURI = ""
			r.URL, _ = r.URL.Parse(server.URL + "/v1/messages")
			answer, err := transport.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	})
}
