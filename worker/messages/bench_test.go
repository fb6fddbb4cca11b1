package messages_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/worker/messages"
)

// BenchmarkCall measures what a call costs in this process beside bare net/http against the same server in the same
// process: the difference between the two is what the SDK and the checks of this package cost.
func BenchmarkCall(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Request-Id", "req_011CUxyzABCDEFGHIJKLMNOP")
		_, _ = io.WriteString(w, message)
	}))
	defer server.Close()
	body := []byte(strings.Replace(request, "hello", strings.Repeat("hello ", 100), 1))

	b.Run("Client", func(b *testing.B) {
		c, err := messages.New(messages.Options{BaseURL: server.URL, Secret: messages.NewSecret(key)})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if reply := c.Call(b.Context(), body); reply.Kind != messages.Answered {
					b.Error(reply)
				}
			}
		})
	})
	b.Run("net-http", func(b *testing.B) {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = messages.DefaultMaxConns
		defer transport.CloseIdleConnections()
		plain := &http.Client{Transport: transport}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/v1/messages", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+key)
				req.Header.Set("Anthropic-Version", messages.DefaultVersion)
				res, err := plain.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadAll(res.Body); err != nil {
					b.Fatal(err)
				}
				_ = res.Body.Close()
			}
		})
	})
}
