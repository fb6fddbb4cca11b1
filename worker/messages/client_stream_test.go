package messages_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/messages"
)

const (
	stream = `event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}

event: ping
data: {"type": "ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}

` + streamEnd
	streamEnd = `event: message_stop
data: {"type":"message_stop"}

`
	streamed = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],` +
		`"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}`
)

func streaming(o *messages.Options) { o.Stream = true }

// sse answers as the service streams, a piece at a time.
func sse(pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, piece := range pieces {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// With Stream the request says so, whatever it said before, and is otherwise left as it is.
func TestCallAsksForStream(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"model":"m","max_tokens":1}`:                   `{"model":"m","max_tokens":1,"stream":true}`,
		`{"stream":false,"model":"m"}`:                   `{"stream":true,"model":"m"}`,
		`{"stream":true,"model":"m"}`:                    `{"stream":true,"model":"m"}`,
		`{"messages":[{"stream":false}],"x":1.0000e+05}`: `{"messages":[{"stream":false}],"x":1.0000e+05,"stream":true}`,
		"{\n  \"model\": \"<é>\"\n}":                     "{\n  \"model\": \"<é>\"\n,\"stream\":true}",
	} {
		var got []byte
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			got, _ = io.ReadAll(r.Body)
			sse(stream)(w, r)
		}, streaming)
		given := []byte(body)
		if reply := c.Call(t.Context(), given); reply.Kind != messages.Answered {
			t.Error(reply)
		}
		if string(given) != body {
			t.Errorf("the caller's body changed to %s", given)
		}
		if !gjson.GetBytes(got, "stream").Bool() {
			t.Errorf("sent %s", got)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	}
}

func TestCallStream(t *testing.T) {
	t.Parallel()
	cut := strings.TrimSuffix(stream, streamEnd)
	overloaded := `event: error
data: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}

`
	for _, row := range []struct {
		name   string
		handle http.HandlerFunc
		set    func(*messages.Options)
		kind   messages.Kind
		want   string
	}{
		{"whole", sse(stream), streaming, messages.Answered, streamed},
		{"byte by byte", sse(strings.Split(stream, "")...), streaming, messages.Answered, streamed},
		{"not asked for", sse(stream), nil, messages.Answered, streamed},
		{"Message in place of a stream", answer(200, message), streaming, messages.Answered, message},
		{"without message_stop", sse(cut), streaming, messages.Retry, ""},
		{"error within", sse(cut, overloaded), streaming, messages.RetryAfter, ""},
		{"bare JSON appended", sse(cut, `{"error":{"message":"x","type":"new_api_error"}}`), streaming, messages.Retry, ""},
		{"error before", answer(401, `{"error":{"type":"authentication_error","message":"x"}}`), streaming, messages.Blocked, ""},
		{"connection lost", func(w http.ResponseWriter, r *http.Request) {
			sse(cut)(w, r)
			panic(http.ErrAbortHandler)
		}, streaming, messages.Retry, ""},
		{"page under a stream's type", sse("<html></html>"), streaming, messages.Retry, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			reply := client(t, row.handle, row.set).Call(t.Context(), []byte(request))
			if reply.Kind != row.kind {
				t.Errorf("%s, want %s", reply, row.kind)
			}
			if diff := cmp.Diff(row.want, string(reply.Message)); diff != "" {
				t.Errorf("Message (-want +got):\n%s", diff)
			}
		})
	}
}

// A server that keeps the connection open after message_stop must not cost an answer that is there and paid for.
func TestCallStreamNotClosed(t *testing.T) {
	t.Parallel()
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		sse(stream)(w, r)
		<-r.Context().Done()
	}, func(o *messages.Options) { o.Stream, o.Timeout = true, time.Minute })
	reply := c.Call(t.Context(), []byte(request))
	if reply.Kind != messages.Answered || string(reply.Message) != streamed {
		t.Error(reply)
	}
	if reply.Latency > 30*time.Second {
		t.Errorf("waited %s for the server to close", reply.Latency)
	}
}
