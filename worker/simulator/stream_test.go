package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

// collect reads a stream as the protocol says (messages API, section Streaming), fails where it is not kept, and
// returns the message that it carries and its number of deltas.
func collect(t *testing.T, body []byte) (message string, deltas int) {
	t.Helper()
	set := func(path string, value any) {
		var err error
		if message, err = sjson.Set(message, path, value); err != nil {
			t.Fatal(err)
		}
	}
	raw := func(path, value string) {
		var err error
		if message, err = sjson.SetRaw(message, path, value); err != nil {
			t.Fatal(err)
		}
	}
	open, next, input, last, pings := -1, 0, "", "", 0
	for event := range strings.SplitSeq(strings.TrimSuffix(string(body), "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(strings.TrimPrefix(event, "event: "), "\ndata: ")
		if !ok || !gjson.Valid(data) || gjson.Get(data, "type").Str != name {
			t.Fatalf("not an event: %q", event)
		}
		d := gjson.Parse(data)
		block := fmt.Sprintf("content.%d.", open)
		switch name {
		case "ping":
			pings++
			continue
		case "message_start":
			if last != "" {
				t.Fatal("message_start is not the first")
			}
			message = d.Get("message").Raw
			if d.Get("message.usage.output_tokens").Int() > 1 {
				t.Errorf("the message begins with its output counted: %s", message)
			}
			if d.Get("message.content").Raw != "[]" || d.Get("message.stop_reason").Type != gjson.Null {
				t.Fatalf("the message begins with content or a stop reason: %s", message)
			}
		case "content_block_start":
			if open != -1 || int(d.Get("index").Int()) != next {
				t.Fatalf("block %s starts while %d is open and %d is next", d.Get("index"), open, next)
			}
			open, next, input = next, next+1, ""
			raw(fmt.Sprintf("content.%d", open), d.Get("content_block").Raw)
		case "content_block_delta":
			if int(d.Get("index").Int()) != open {
				t.Fatalf("delta for block %s while %d is open", d.Get("index"), open)
			}
			deltas++
			switch kind := d.Get("delta.type").Str; kind {
			case "text_delta":
				set(block+"text", gjson.Get(message, block+"text").Str+d.Get("delta.text").Str)
			case "thinking_delta":
				set(block+"thinking", gjson.Get(message, block+"thinking").Str+d.Get("delta.thinking").Str)
			case "signature_delta":
				set(block+"signature", d.Get("delta.signature").Str)
			case "input_json_delta":
				input += d.Get("delta.partial_json").Str
			default:
				t.Fatalf("unknown delta %s", kind)
			}
		case "content_block_stop":
			if int(d.Get("index").Int()) != open {
				t.Fatalf("stop of block %s while %d is open", d.Get("index"), open)
			}
			if input != "" {
				raw(block+"input", input)
			}
			open = -1
		case "message_delta":
			if open != -1 {
				t.Fatal("message_delta within a block")
			}
			d.Get("delta").ForEach(func(key, v gjson.Result) bool {
				raw(key.Str, v.Raw)
				return true
			})
			raw("usage", d.Get("usage").Raw)
		case "message_stop":
			if last != "message_delta" {
				t.Fatalf("message_stop after %s", last)
			}
		default:
			t.Fatalf("unknown event %s", name)
		}
		last = name
	}
	if last != "message_stop" {
		t.Fatalf("the stream ends with %q", last)
	}
	if pings == 0 {
		t.Error("no ping")
	}
	return message, deltas
}

func value(t *testing.T, document string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	return v
}

// The id comes from the body, which differs in stream alone; answers to both are compared but for it and the draws.
func TestStreamKeepsProtocol(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","properties":{"name":{"type":"string"},"naïve":{"enum":["größer","größte","—"]}},"required":["name","naïve"]}`
	tests := map[string]string{
		"text":                plainBody,
		"thinking and text":   with(`"thinking":{"type":"adaptive"}`),
		"schema":              with(`"output_config":{"format":{"type":"json_schema","schema":` + schema + `}}`),
		"tool":                with(`"tool_choice":{"type":"any"},"tools":[{"name":"t","input_schema":` + schema + `}]`),
		"truncated":           strings.Replace(plainBody, "200", "1", 1),
		"tool without fields": with(`"tool_choice":{"type":"tool","name":"t"},"tools":[{"name":"t","input_schema":{"type":"object"}}]`),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := simulator.New(simulator.Options{})
			w := send(t, s, strings.Replace(body, "{", `{"stream":true,`, 1))
			if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
				t.Fatalf("got %d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			message, deltas := collect(t, w.Body.Bytes())
			if deltas < 2 && name != "truncated" {
				t.Errorf("only %d deltas", deltas)
			}
			// The same members as in a document.
			whole := gjson.ParseBytes(send(t, s, body).Body.Bytes())
			whole.ForEach(func(key, v gjson.Result) bool {
				if gjson.Get(message, key.Str).Type != v.Type {
					t.Errorf("%s is %s in the stream and %s in the document", key.Str, gjson.Get(message, key.Str).Raw, v.Raw)
				}
				return true
			})
			for i, block := range gjson.Get(message, "content").Array() {
				if block.Get("type").Str != whole.Get(fmt.Sprintf("content.%d.type", i)).Str {
					t.Errorf("block %d: %s", i, block.Raw)
				}
			}
			value(t, message)
			if got := s.Stats(); got.Answered != 2 {
				t.Errorf("%d of 2 are counted as answered", got.Answered)
			}
		})
	}
}

func TestStreamIsDeterministic(t *testing.T) {
	t.Parallel()
	body := with(`"stream":true`)
	s := simulator.New(simulator.Options{})
	if diff := cmp.Diff(send(t, s, body).Body.String(), send(t, s, body).Body.String()); diff != "" {
		t.Error(diff)
	}
}

// timedWriter notes when the parts of an answer are flushed.
type timedWriter struct {
	header http.Header
	body   bytes.Buffer
	at     []time.Duration
	start  time.Time
}

func (w *timedWriter) Header() http.Header         { return w.header }
func (w *timedWriter) WriteHeader(int)             {}
func (w *timedWriter) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *timedWriter) Flush()                      { w.at = append(w.at, time.Since(w.start)) }

func TestStreamTakesTokenTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{Latency: time.Second, TokenTime: 10 * time.Millisecond})
		w := &timedWriter{header: http.Header{}, start: time.Now()}
		s.ServeHTTP(w, newRequest(t.Context(), "/v1/messages", with(`"stream":true`)))
		message, deltas := collect(t, w.body.Bytes())
		if len(w.at) != deltas+1 {
			t.Errorf("%d deltas came in %d pieces", deltas, len(w.at))
		}
		if w.at[0] != time.Second {
			t.Errorf("the first piece came after %v", w.at[0])
		}
		tokens := gjson.Get(message, "usage.output_tokens").Int()
		least := time.Second + time.Duration(tokens)*10*time.Millisecond
		if last := w.at[len(w.at)-1]; last < least || last > least+time.Second {
			t.Errorf("the last of %d tokens came after %v", tokens, last)
		}
	})
}
