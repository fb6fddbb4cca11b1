package jobs

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadMessage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw, stop, model string
		usage                  Usage
		ok                     bool
	}{
		{
			name: "all counts", ok: true, stop: "end_turn", model: "m",
			raw: `{"type":"message","model":"m","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3,
				"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":5}},"new":{}}`,
			usage: Usage{1, 2, 3, 4, 5},
		},
		{name: "no usage", ok: true, stop: "refusal", raw: `{"stop_reason":"refusal","type":"message"}`},
		{
			name: "writes without lifetime", ok: true, stop: "x",
			raw:   `{"type":"message","stop_reason":"x","usage":{"cache_creation_input_tokens":9,"input_tokens":null,"output_tokens":"2"}}`,
			usage: Usage{CacheWrite5m: 9},
		},
		{
			name: "writes that are only partly told apart", ok: true, stop: "x",
			raw:   `{"type":"message","stop_reason":"x","usage":{"cache_creation":{"ephemeral_1h_input_tokens":4},"cache_creation_input_tokens":9}}`,
			usage: Usage{CacheWrite5m: 5, CacheWrite1h: 4},
		},
		{name: "negative count", ok: true, stop: "x", raw: `{"type":"message","stop_reason":"x","usage":{"input_tokens":-3}}`},
		{
			name: "absurd count", ok: true, stop: "x",
			raw:   `{"type":"message","stop_reason":"x","usage":{"input_tokens":9223372036854775807}}`,
			usage: Usage{Input: 1 << 40},
		},
		{name: "no stop reason", raw: `{"type":"message","model":"m"}`},
		{name: "null stop reason", raw: `{"type":"message","stop_reason":null}`},
		{name: "error", raw: `{"type":"error","error":{"type":"overloaded_error"}}`},
		{name: "error beside a message's members", raw: `{"error":{},"stop_reason":"x"}`},
		{name: "cut", raw: `{"type":"message","stop_reason":"end_turn","content":[{"type":"te`},
		{name: "with a tail", raw: `{"type":"message","stop_reason":"end_turn"}{"error":1}`},
		{name: "list", raw: `["type","message"]`},
		{name: "HTML", raw: `<html>`},
		{name: "empty", raw: ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stop, model, usage, ok := ReadMessage(json.RawMessage(tt.raw))
			if stop != tt.stop || model != tt.model || ok != tt.ok {
				t.Errorf("got %q, %q, %v", stop, model, ok)
			}
			if diff := cmp.Diff(tt.usage, usage); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, raw, want string }{
		{
			"blocks of many types", `{"content":[{"type":"thinking","thinking":"hm","text":"no"},{"type":"text","text":"a"},
				{"type":"tool_use"},{"type":"text","text":"b"},{"type":"text","text":"\u00e9"}]}`,
			"abé",
		},
		{"empty block first", `{"content":[{"type":"text","text":""},{"type":"text","text":"b"}]}`, "b"},
		{"null text", `{"content":[{"type":"text","text":null}]}`, ""},
		{"no blocks", `{"content":[]}`, ""},
		{"null content", `{"content":null}`, ""},
		{"content that is text", `{"content":"text"}`, ""},
		{"no content", `{}`, ""},
		{"no message", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Text(json.RawMessage(tt.raw)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte(`{"type":"message","stop_reason":"x","model":"m","content":[{"type":"text","text":"a"}],"usage":{"input_tokens":1e3}}`))
	f.Add([]byte(`{"type":"message","stop_reason":"x","usage":{"cache_creation":{"ephemeral_5m_input_tokens":9e99}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		stop, _, usage, ok := ReadMessage(raw)
		if !ok {
			return
		}
		if !json.Valid(raw) || stop == "" {
			t.Fatalf("%q is a message", raw)
		}
		if usage.Input < 0 || usage.Output < 0 || usage.CacheRead < 0 || usage.CacheWrite5m < 0 || usage.CacheWrite1h < 0 {
			t.Fatalf("%q uses %+v", raw, usage)
		}
		Text(raw)
	})
}

func ExampleText() {
	os.Stdout.WriteString(Text(json.RawMessage(`{"content":[{"type":"thinking","thinking":"…"},{"type":"text","text":"Hello"}]}`)))
	// Output: Hello
}
