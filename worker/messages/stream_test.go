package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// events writes JSON texts as the service streams them: the event's name repeats the type.
func events(texts ...string) string {
	var b strings.Builder
	for _, text := range texts {
		var e struct {
			Type string `json:"type"`
		}
		_ = json.Unmarshal([]byte(text), &e)
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", e.Type, text)
	}
	return b.String()
}

const (
	start = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],` +
		`"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_read_input_tokens":4,"output_tokens":1,` +
		`"cache_creation":{"ephemeral_5m_input_tokens":7},"service_tier":"standard"},"new_field":[1]}}`
	textStart = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	hello     = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}`
	blockStop = `{"type":"content_block_stop","index":0}`
	ending    = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}`
	stop      = `{"type":"message_stop"}`
	ping      = `{"type": "ping"}`

	// helloMessage is what start, textStart, hello, blockStop, ending, stop amount to.
	helloMessage = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],` +
		`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"cache_read_input_tokens":4,"output_tokens":9,` +
		`"cache_creation":{"ephemeral_5m_input_tokens":7},"service_tier":"standard"},"new_field":[1]}`
)

// collectBlock streams one content block and returns the block that the Message then has.
func collectBlock(t *testing.T, stopReason, blockStart string, deltas ...string) (string, error) {
	t.Helper()
	texts := []string{start, `{"type":"content_block_start","index":0,"content_block":` + blockStart + `}`}
	for _, delta := range deltas {
		texts = append(texts, `{"type":"content_block_delta","index":0,"delta":`+delta+`}`)
	}
	texts = append(texts, blockStop, strings.Replace(ending, "end_turn", stopReason, 1), stop)
	got, err := collect(strings.NewReader(events(texts...)))
	if err != nil {
		return "", err
	}
	var message struct {
		Content []json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(got, &message); err != nil || len(message.Content) != 1 {
		t.Fatalf("%v in %s", err, got)
	}
	return string(message.Content[0]), nil
}

// A stream gives the Message that a call without one would have given, however the server writes its events.
func TestCollect(t *testing.T) {
	t.Parallel()
	plain := []string{start, textStart, hello, blockStop, ending, stop}
	for _, row := range []struct{ name, stream string }{
		{"plain", events(plain...)},
		{"CRLF", strings.ReplaceAll(events(plain...), "\n", "\r\n")},
		{"without names", strings.Join([]string{"data: " + start, "data: " + textStart, "data: " + hello, "data: " + blockStop, "data: " + ending, "data: " + stop, ""}, "\n\n")},
		{"without spaces after colons", strings.ReplaceAll(strings.ReplaceAll(events(plain...), "event: ", "event:"), "data: ", "data:")},
		{"no empty line at the end", strings.TrimRight(events(plain...), "\n")},
		{"byte order mark", "\ufeff" + events(plain...)},
		{"comments, ids and retry", ": hi\n\nid: 1\nretry: 5\n" + events(plain...)},
		{"pings", events(start, ping, textStart, ping, hello, blockStop, ping, ending, stop)},
		{"ping without JSON", "event: ping\ndata: x\n\n" + events(plain...)},
		{"unknown events", events(start, textStart, `{"type":"content_block_news","index":0}`, hello, blockStop, ending, stop)},
		{"unknown event without JSON", events(start) + "event: news\ndata: today\n\n" + events(textStart, hello, blockStop, ending, stop)},
		{"unknown type under a known name", events(start) + "event: message\ndata: {\"type\":\"news\"}\n\n" + events(textStart, hello, blockStop, ending, stop)},
		{"done marker", events(plain...) + "data: [DONE]\n\n"},
		{"done marker before the end", events(plain[:5]...) + "data: [DONE]\n\n" + events(stop)},
		{"data in two lines", events(start, textStart, hello, blockStop, ending) + "data: {\"type\":\ndata: \"message_stop\"}\n\n"},
		{"something after the end", events(plain...) + `{"error":{"message":"late"}}`},
		{"no block stop", events(start, textStart, hello, ending, stop)},
		{"text in the block's start", events(start, strings.Replace(textStart, `"text":""`, `"text":"hel"`, 1), strings.Replace(hello, "hello", "lo", 1), blockStop, ending, stop)},
		{"end in two deltas", events(start, textStart, hello, blockStop, ending, `{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":9,"cache_read_input_tokens":null}}`, stop)},
		{"error that is null", events(start, textStart, strings.Replace(hello, `"index"`, `"error":null,"index"`, 1), blockStop, ending, stop)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := collect(strings.NewReader(row.stream))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(helloMessage, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if problem := messageProblem(got); problem != "" {
				t.Error(problem)
			}
		})
	}
}

func TestCollectBlocks(t *testing.T) {
	t.Parallel()
	const tool = `{"type":"tool_use","id":"toolu_1","name":"f","input":{}}`
	for _, row := range []struct {
		name, stop, start string
		deltas            []string
		want              string
	}{
		{"escapes stay", "end_turn", `{"type":"text","text":""}`, []string{`{"type":"text_delta","text":"a\n\""}`, `{"type":"text_delta","text":"\u00e9\\"}`}, `{"type":"text","text":"a\n\"\u00e9\\"}`},
		{"pair split over deltas", "end_turn", `{"type":"text","text":""}`, []string{`{"type":"text_delta","text":"\ud83d"}`, `{"type":"text_delta","text":"\ude00"}`}, `{"type":"text","text":"\ud83d\ude00"}`},
		{"no delta", "end_turn", `{"type":"redacted_thinking","data":"abc"}`, nil, `{"type":"redacted_thinking","data":"abc"}`},
		{
			"thinking", "end_turn",
			`{"type":"thinking","thinking":"","signature":""}`,
			[]string{`{"type":"thinking_delta","thinking":"so","estimated_tokens":3}`, `{"type":"thinking_delta","thinking":"…"}`, `{"type":"signature_delta","signature":"EqQ"}`, `{"type":"signature_delta","signature":"B="}`},
			`{"type":"thinking","thinking":"so…","signature":"EqQB="}`,
		},
		{
			"citations", "end_turn",
			`{"type":"text","text":"","citations":[]}`,
			[]string{`{"type":"citations_delta","citation":{"a":1}}`, `{"type":"text_delta","text":"x"}`, `{"type":"citations_delta","citation":{"b":2}}`},
			`{"type":"text","text":"x","citations":[{"a":1},{"b":2}]}`,
		},
		{"citations from null", "end_turn", `{"type":"text","text":"","citations":null}`, []string{`{"type":"citations_delta","citation":{"a":1}}`}, `{"type":"text","text":"","citations":[{"a":1}]}`},
		{"tool", "tool_use", tool, []string{`{"type":"input_json_delta","partial_json":""}`, `{"type":"input_json_delta","partial_json":"{\"a\": [1,"}`, `{"type":"input_json_delta","partial_json":" \"é\"]}"}`}, `{"type":"tool_use","id":"toolu_1","name":"f","input":{"a": [1, "é"]}}`},
		{"tool without input", "tool_use", tool, []string{`{"type":"input_json_delta","partial_json":""}`}, tool},
		{"tool cut by max_tokens", "max_tokens", tool, []string{`{"type":"input_json_delta","partial_json":"{\"a\": \"b"}`}, `{"type":"tool_use","id":"toolu_1","name":"f","input":"{\"a\": \"b"}`},
		{"compaction", "compaction", `{"type":"compaction","content":null,"encrypted_content":null}`, []string{`{"type":"compaction_delta","content":"sum","encrypted_content":null}`, `{"type":"compaction_delta","content":"mary","encrypted_content":"Q="}`}, `{"type":"compaction","content":"summary","encrypted_content":"Q="}`},
		{"unknown block and delta", "end_turn", `{"type":"picture","pixels":"","key.with.dots":1}`, []string{`{"type":"picture_delta","pixels":"AA","size":{"w":1}}`, `{"type":"picture_delta","pixels":"BB","size":{"w":2}}`}, `{"type":"picture","pixels":"AABB","key.with.dots":1,"size":{"w":2}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := collectBlock(t, row.stop, row.start, row.deltas...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCollectManyBlocks(t *testing.T) {
	t.Parallel()
	got, err := collect(strings.NewReader(events(
		start,
		`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"b"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}`,
		`{"type":"content_block_stop","index":1}`,
		blockStop,
		`{"type":"content_block_start","index":2,"content_block":{"type":"fallback","to":{"model":"m2"}}}`,
		`{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal"},"container":{"id":"c"}},`+
			`"usage":{"output_tokens":2,"server_tool_use":{"web_search_requests":1},"input_tokens":11},"context_management":{"applied_edits":[]}}`,
		stop,
	)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"msg_1","type":"message","role":"assistant","model":"m2","content":[{"type":"thinking","thinking":"a"},` +
		`{"type":"text","text":"b"},{"type":"fallback","to":{"model":"m2"}}],"stop_reason":"refusal","stop_sequence":null,` +
		`"usage":{"input_tokens":11,"cache_read_input_tokens":4,"output_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":7},` +
		`"service_tier":"standard","server_tool_use":{"web_search_requests":1}},"new_field":[1],"stop_details":{"type":"refusal"},` +
		`"container":{"id":"c"},"context_management":{"applied_edits":[]}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is no whole stream is a failure, though each of these would pass for an answer that is merely short.
func TestCollectBroken(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, stream string }{
		{"empty", ""},
		{"no message_stop", events(start, textStart, hello, blockStop, ending)},
		{"only message_stop", events(stop)},
		{"Message in place of events", goodMessage},
		{"page in place of events", "<html><body>hi</body></html>"},
		{"event cut in its middle", events(start, textStart) + "data: " + hello[:60]},
		{"data that is no JSON", events(start, textStart) + "data: oops\n\n" + events(ending, stop)},
		{"message_start without a message", events(`{"type":"message_start"}`, stop)},
		{"two starts", events(start, start, textStart, hello, ending, stop)},
		{"block that starts twice", events(start, textStart, textStart, hello, ending, stop)},
		{"block without content", events(start, `{"type":"content_block_start","index":0}`, ending, stop)},
		{"delta without a block", events(start, hello, ending, stop)},
		{"block before the start", events(textStart, hello, stop)},
		{"end before the start", events(ending, stop)},
		{"broken tool input", events(start, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","input":{}}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}`, blockStop, ending, stop)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := collect(strings.NewReader(row.stream))
			if !errors.Is(err, errStream) {
				t.Errorf("got %q and error %v, want errStream", got, err)
			}
		})
	}
	t.Run("connection lost", func(t *testing.T) {
		t.Parallel()
		r := io.MultiReader(strings.NewReader(events(start, textStart)), lost{})
		if got, err := collect(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %q and error %v", got, err)
		}
	})
	t.Run("no stop reason", func(t *testing.T) {
		t.Parallel()
		got, err := collect(strings.NewReader(events(start, textStart, hello, blockStop, stop)))
		if problem := messageProblem(got); err != nil || problem != "a Message without a stop reason" {
			t.Errorf("%q, %v", problem, err)
		}
	})
}

type lost struct{}

func (lost) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// An error in a stream means what it means over HTTP, in whatever way it stands there.
func TestCollectError(t *testing.T) {
	t.Parallel()
	before := events(start, textStart, hello)
	for _, row := range []struct {
		name, stream string
		want         Kind
	}{
		{"overloaded event", before + events(envelope("overloaded_error", "busy")), RetryAfter},
		{"api error event", before + events(envelope("api_error", "oops")), Retry},
		{"invalid request event", events(envelope("invalid_request_error", "x")), Rejected},
		{"error event without type", before + "event: error\ndata: {\"message\":\"x\"}\n\n", Retry},
		{"OpenRouter's data", before + "data: {\"error\":{\"code\":429,\"message\":\"slow\"}}\n\n", RetryAfter},
		{"bare JSON after the events", before + `{"error":{"message":"x","type":"new_api_error","code":""}}`, Retry},
		{"bare JSON in place of events", envelope("authentication_error", "x"), Blocked},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			body, err := collect(strings.NewReader(row.stream))
			if err != nil {
				t.Fatal(err)
			}
			if verdict := Classify(Answer{Status: 200, Body: body, Now: now}); verdict.Kind != row.want || verdict.Message == "" {
				t.Errorf("%s, want %s", verdict, row.want)
			}
		})
	}
}

// Whatever bytes come, collect neither panics nor gives JSON that is broken.
func FuzzCollect(f *testing.F) {
	f.Add([]byte(events(start, textStart, hello, blockStop, ending, stop)))
	f.Add([]byte("data: " + start + "\r\n\r\ndata: " + stop))
	f.Add([]byte(events(start, `{"type":"content_block_start","index":-1,"content_block":{"type":"tool_use","input":{}}}`,
		`{"type":"content_block_delta","index":-1,"delta":{"type":"input_json_delta","partial_json":"{}"}}`, ending, stop)))
	f.Add([]byte(events(start, textStart, `{"type":"content_block_delta","index":0,"delta":{"type":"x","text":"\ud83d","y":[],"":null}}`, ending, stop)))
	f.Add([]byte(events(envelope("overloaded_error", "busy"))))
	f.Add([]byte(`{"error":1}`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := collect(bytes.NewReader(stream))
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("not JSON: %q", got)
		}
		again, err := collect(iotest.OneByteReader(bytes.NewReader(stream)))
		if err != nil || !bytes.Equal(got, again) {
			t.Fatalf("read in single bytes it gives %q and %v, else %q", again, err, got)
		}
	})
}
