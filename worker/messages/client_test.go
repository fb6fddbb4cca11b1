package messages_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"

	"github.com/batchwright/batchwright/worker/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key     = "sk-test-0123456789abcdef"
	message = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],` +
		`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2},"new_field":{"a":[1]}}`
	request = `{"model":"m","max_tokens":64000,"messages":[{"role":"user","content":"hello"}]}`
)

// client returns a client of a server that answers as handle does.
func client(t *testing.T, handle http.HandlerFunc, set func(*messages.Options)) *messages.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	options := messages.Options{BaseURL: server.URL, Secret: messages.NewSecret(key), Timeout: 10 * time.Second}
	if set != nil {
		set(&options)
	}
	c, err := messages.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// The request is the job's body, byte for byte, with the headers of the options and no other credential. The large
// max_tokens is one that the SDK by itself would refuse to send.
func TestCallSends(t *testing.T) {
	// What an environment holds must not reach the API by way of the SDK.
	t.Setenv("ANTHROPIC_API_KEY", "sk-environment")
	t.Setenv("ANTHROPIC_AUTH_TOKEN", "environment")
	t.Setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
	t.Setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Environment: 1")
	var got *http.Request
	var body []byte
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, message)
	}, func(o *messages.Options) {
		o.BaseURL += "/gateway"
		o.Version = "2023-01-01"
		o.Beta = []string{"one-2025", "two-2026"}
		o.UserAgent = "batchwright/9"
	})
	if reply := c.Call(t.Context(), []byte(request)); reply.Kind != messages.Answered {
		t.Fatal(reply)
	}
	if string(body) != request {
		t.Errorf("body sent: %s", body)
	}
	if got.Method != http.MethodPost || got.RequestURI != "/gateway/v1/messages" {
		t.Errorf("sent %s %s", got.Method, got.RequestURI)
	}
	want := map[string]string{
		"Authorization": "Bearer " + key, "X-Api-Key": "", "X-Environment": "",
		"Anthropic-Version": "2023-01-01", "Anthropic-Beta": "one-2025,two-2026",
		"Content-Type": "application/json", "User-Agent": "batchwright/9", "Accept-Encoding": "",
		"Content-Length": strconv.Itoa(len(request)),
	}
	for name, value := range want {
		if diff := cmp.Diff(value, strings.Join(got.Header.Values(name), "|")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCallAnswered(t *testing.T) {
	t.Parallel()
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Request-Id", "req_7")
		w.Header().Set("Anthropic-Ratelimit-Requests-Remaining", "41")
		_, _ = io.WriteString(w, message+"\n")
	}, nil)
	reply := c.Call(t.Context(), []byte(request))
	if reply.Kind != messages.Answered || reply.Status != 200 || reply.RequestID != "req_7" || reply.Latency <= 0 {
		t.Errorf("%s, request id %q, latency %s", reply, reply.RequestID, reply.Latency)
	}
	if diff := cmp.Diff(message, string(reply.Message)); diff != "" {
		t.Errorf("Message (-want +got):\n%s", diff)
	}
	if left := messages.ParseRateLimits(reply.Header, time.Now()).Requests; left.Remaining != 41 {
		t.Errorf("limits of the header: %+v", left)
	}
}

// One call is one request, whatever the answer: retries belong to the caller, who counts them.
func TestCallOnce(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"429": answer(429, `{"error":{"type":"rate_limit_error","message":"m"}}`),
		"500": answer(500, ""),
		"529": answer(529, "<html>"),
		"302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"307": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"hang up":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"200 empty": answer(200, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				handle(w, r)
			}, nil)
			reply := c.Call(t.Context(), []byte(request))
			if reply.Kind == messages.Answered || reply.Message != nil {
				t.Errorf("%s with message %q", reply, reply.Message)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// Whatever breaks between the first and the last byte is a failure that says so, and never an answer.
func TestCallBroken(t *testing.T) {
	t.Parallel()
	raw := func(response string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = buf.WriteString(response)
			_ = buf.Flush()
			_ = conn.Close()
		}
	}
	for _, row := range []struct {
		name   string
		handle http.HandlerFunc
		kind   messages.Kind
		fault  string
	}{
		{"shorter than its length", raw("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + message), messages.Retry, "incomplete"},
		{"chunks without an end", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n"), messages.Retry, "incomplete"},
		{"cut without a length", raw("HTTP/1.0 200 OK\r\n\r\n" + message[:80]), messages.Retry, "incomplete"},
		{"not HTTP", raw("SSH-2.0-OpenSSH\r\n"), messages.Retry, "network"},
		{"error with its body cut", raw("HTTP/1.1 401 No\r\nContent-Length: 99\r\n\r\n{"), messages.Blocked, ""},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for block := make([]byte, 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, messages.Retry, "incomplete"},
		{"endless error", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			for block := make([]byte, 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, messages.Retry, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			reply := client(t, row.handle, nil).Call(t.Context(), []byte(request))
			if reply.Kind != row.kind || reply.Type != row.fault {
				t.Errorf("got %s, want %s as %q", reply, row.kind, row.fault)
			}
		})
	}
}

func TestCallUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	_ = listener.Close()
	reply := client(t, nil, func(o *messages.Options) { o.BaseURL = address }).Call(t.Context(), []byte(request))
	if reply.Kind != messages.Retry || reply.Type != "refused" || reply.Status != 0 {
		t.Error(reply)
	}
}

func TestCallTimeout(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{"before the answer": "", "within the answer": `{"type":`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, hang(begin), func(o *messages.Options) { o.Timeout = 50 * time.Millisecond })
			reply := c.Call(t.Context(), []byte(request))
			if reply.Kind != messages.Retry || reply.Type != "timeout" || !strings.Contains(reply.Verdict.Message, "50ms") {
				t.Error(reply)
			}
		})
	}
}

func TestCallCancelled(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{"before the answer": "", "within the answer": `{"type":`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				cancel()
				hang(begin)(w, r)
			}, nil)
			if reply := c.Call(ctx, []byte(request)); reply.Kind != messages.Cancelled {
				t.Error(reply)
			}
		})
	}
	t.Run("deadline of the caller", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if reply := client(t, hang(""), nil).Call(ctx, []byte(request)); reply.Kind != messages.Cancelled {
			t.Error(reply)
		}
	})
}

// hang begins an answer and never ends it.
func hang(begin string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		if begin != "" {
			_, _ = io.WriteString(w, begin)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

// A redirect would carry prompts and the key to another host.
func TestCallFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/in?token=1", status)
		}, nil)
		reply := c.Call(t.Context(), []byte(request))
		if reply.Kind != messages.Blocked || reply.Verdict.Message != "redirect to "+other.URL+"/in" {
			t.Errorf("%d: %s", status, reply)
		}
	}
	if asked.Load() {
		t.Error("the redirect was followed")
	}
}

// With the 2 idle connections of Go's default, most rounds would open new ones.
func TestCallKeepsConnections(t *testing.T) {
	t.Parallel()
	const parallel = 16
	var opened atomic.Int32
	gate := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-gate // so that all calls of a round are in flight together
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, message)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c, err := messages.New(messages.Options{BaseURL: server.URL, Secret: messages.NewSecret(key), MaxConns: parallel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 5 {
		replies := make(chan messages.Reply)
		for range parallel {
			go func() { replies <- c.Call(t.Context(), []byte(request)) }()
		}
		for range parallel {
			gate <- struct{}{}
		}
		for range parallel {
			if reply := <-replies; reply.Kind != messages.Answered {
				t.Error(reply)
			}
		}
	}
	// A dial that lost the race to a connection that came free leaves a spare one.
	if n := opened.Load(); n > 2*parallel {
		t.Errorf("%d connections for %d calls at once", n, parallel)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*messages.Options)
		want   string
	}{
		{"no secret", func(o *messages.Options) { o.Secret = messages.Secret{} }, "no credential"},
		{"no scheme", func(o *messages.Options) { o.BaseURL = "api.test" }, "write it as https://host"},
		{"other scheme", func(o *messages.Options) { o.BaseURL = "ftp://api.test" }, "write it as https://host"},
		{"not a URL", func(o *messages.Options) { o.BaseURL = "https://u:hunter2@[" }, "not a URL"},
		{"credential in URL", func(o *messages.Options) { o.BaseURL = "https://u:hunter2@api.test" }, "holds a credential"},
		{"query", func(o *messages.Options) { o.BaseURL = "https://api.test?key=hunter2" }, "leave out what follows"},
		{"version in URL", func(o *messages.Options) { o.BaseURL = "https://api.test/v1/" }, "leave out /v1"},
		{"path in URL", func(o *messages.Options) { o.BaseURL = "https://api.test/v1/messages" }, "leave out /v1"},
		{"header", func(o *messages.Options) { o.Beta = []string{"a\nX-Api-Key: b"} }, "printable ASCII"},
		{"timeout", func(o *messages.Options) { o.Timeout = -1 }, "above 0"},
		{"connections", func(o *messages.Options) { o.MaxConns = -1 }, "above 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			options := messages.Options{BaseURL: "https://api.test", Secret: messages.NewSecret(key)}
			row.change(&options)
			_, err := messages.New(options)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a credential: %v", err)
			}
		})
	}
}

// Servers repeat the key that they refuse; no printing of a reply or a client may.
func TestReplyHidesSecret(t *testing.T) {
	t.Parallel()
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
			"type": r.Header.Get("Authorization"), "code": key, "message": "bad key " + key + " (" + key[:12] + "...)",
		}, "request_id": key})
	}, nil)
	reply := c.Call(t.Context(), []byte(request))
	for _, text := range []string{fmt.Sprintf("%+v", reply), fmt.Sprintf("%#v", reply), fmt.Sprintf("%+v", c), reply.String()} {
		if strings.Contains(text, key[:12]) {
			t.Errorf("shows the key: %s", text)
		}
	}
}

// A credential that a server puts into its answer does not reach the output; a word that serves as one leaves answers as
// they are.
func TestAnswerHidesSecret(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ secret, want string }{
		"key":     {key, `"your key is [redacted]!"`},
		"made-up": {"any", `"your key is any!"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			echo := strings.Replace(message, `"hi"`, `"your key is `+row.secret+`!"`, 1)
			c := client(t, answer(200, echo), func(o *messages.Options) { o.Secret = messages.NewSecret(row.secret) })
			reply := c.Call(t.Context(), []byte(request))
			if got := gjson.GetBytes(reply.Message, "content.0.text").Raw; got != row.want {
				t.Errorf("answer %s, want %s", got, row.want)
			}
		})
	}
}

func ExampleClient_Call() {
	server := httptest.NewServer(answer(200, message))
	defer server.Close()
	c, err := messages.New(messages.Options{BaseURL: server.URL, Secret: messages.NewSecret("sk-example")})
	if err != nil {
		return
	}
	defer c.Close()
	reply := c.Call(context.Background(), []byte(request))
	_, _ = fmt.Fprintln(os.Stdout, reply.Kind, len(reply.Message) > 0)
	// Output: answered true
}
