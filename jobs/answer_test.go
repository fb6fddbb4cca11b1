package jobs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func answerOf(tb testing.TB, node string) *Answer {
	tb.Helper()
	answer, err := NewAnswer(json.RawMessage(node))
	if err != nil {
		tb.Fatalf("answer %s: %v", node, err)
	}
	return answer
}

// Each rule of the short form, with the schema it stands for and the columns it gives.
func TestNewAnswer(t *testing.T) {
	t.Parallel()
	one := func(property string) string {
		return `{"type":"object","properties":{"a":` + property + `},"required":["a"],"additionalProperties":false}`
	}
	text := Type{Kind: KindString}
	tests := []struct {
		name, node, schema string
		columns            Schema
	}{
		{"type", `{"a":"string"}`, one(`{"type":"string"}`), Schema{{"a", text}}},
		{
			"order of members", `{"z":"integer","b":"boolean","c":"number"}`,
			`{"type":"object","properties":{"z":{"type":"integer"},"b":{"type":"boolean"},"c":{"type":"number"}},"required":["z","b","c"],"additionalProperties":false}`,
			Schema{{"z", Type{Kind: KindInteger}}, {"b", Type{Kind: KindBoolean}}, {"c", Type{Kind: KindNumber}}},
		},
		{"type or null", `{"a":"integer?"}`, one(`{"anyOf":[{"type":"integer"},{"type":"null"}]}`), Schema{{"a", Type{Kind: KindInteger}}}},
		{"choice of texts", `{"a":["x","y"]}`, one(`{"type":"string","enum":["x","y"]}`), Schema{{"a", text}}},
		{"choice of one", `{"a":["x"]}`, one(`{"type":"string","enum":["x"]}`), Schema{{"a", text}}},
		{"choice of integers", `{"a":[1,2]}`, one(`{"type":"integer","enum":[1,2]}`), Schema{{"a", Type{Kind: KindInteger}}}},
		{"choice of numbers", `{"a":[1,2.5]}`, one(`{"type":"number","enum":[1,2.5]}`), Schema{{"a", Type{Kind: KindNumber}}}},
		{"choice of booleans", `{"a":[true]}`, one(`{"type":"boolean","enum":[true]}`), Schema{{"a", Type{Kind: KindBoolean}}}},
		{"choice with null", `{"a":["x",null]}`, one(`{"enum":["x",null]}`), Schema{{"a", text}}},
		{"mixed choice", `{"a":["x",1]}`, one(`{"enum":["x",1]}`), Schema{{"a", Type{Kind: KindJSON}}}},
		{"choice that names a type among others", `{"a":["string","other"]}`, one(`{"type":"string","enum":["string","other"]}`), Schema{{"a", text}}},
		{"list of texts", `{"a":["string"]}`, one(`{"type":"array","items":{"type":"string"}}`), Schema{{"a", Type{Kind: KindList, Element: &text}}}},
		{"list of choices", `{"a":[["x","y"]]}`, one(`{"type":"array","items":{"type":"string","enum":["x","y"]}}`), Schema{{"a", Type{Kind: KindList, Element: &text}}}},
		{
			"list of objects", `{"a":[{"b":"string"}]}`,
			one(`{"type":"array","items":{"type":"object","properties":{"b":{"type":"string"}},"required":["b"],"additionalProperties":false}}`),
			Schema{{"a", Type{Kind: KindList, Element: &Type{Kind: KindStruct, Fields: []Column{{"b", text}}}}}},
		},
		{
			"object", `{"a":{"b":"string"}}`,
			one(`{"type":"object","properties":{"b":{"type":"string"}},"required":["b"],"additionalProperties":false}`),
			Schema{{"a", Type{Kind: KindStruct, Fields: []Column{{"b", text}}}}},
		},
		{"schema of one member", `{"a":{"type":"string","description":"in English"}}`, one(`{"type":"string","description":"in English"}`), Schema{{"a", text}}},
		{
			"members called type and enum are not a schema", `{"a":{"type":"string","name":"string"}}`,
			one(`{"type":"object","properties":{"type":{"type":"string"},"name":{"type":"string"}},"required":["type","name"],"additionalProperties":false}`),
			Schema{{"a", Type{Kind: KindStruct, Fields: []Column{{"type", text}, {"name", text}}}}},
		},
		{
			"member called type at the top", `{"type":["bug","idea"]}`,
			`{"type":"object","properties":{"type":{"type":"string","enum":["bug","idea"]}},"required":["type"],"additionalProperties":false}`,
			Schema{{"type", text}},
		},
		{
			"member called schema", `{"schema":"string"}`,
			`{"type":"object","properties":{"schema":{"type":"string"}},"required":["schema"],"additionalProperties":false}`,
			Schema{{"schema", text}},
		},
		{
			"whole schema", `{ "type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": {"type":"object"}} }`,
			`{"type":"object","properties":{"a":{"type":["string","null"]},"b":{"type":"object"}}}`,
			Schema{{"a", text}, {"b", Type{Kind: KindJSON}}},
		},
		{
			"whole schema under its name", `{"schema":{"type":"object","properties":{"a":{"const":1.5}}}}`,
			`{"type":"object","properties":{"a":{"const":1.5}}}`,
			Schema{{"a", Type{Kind: KindNumber}}},
		},
		{
			"object with room for more", `{"a":{"type":"object","properties":{"b":{"type":"string"}},"additionalProperties":true}}`,
			one(`{"type":"object","properties":{"b":{"type":"string"}},"additionalProperties":true}`),
			Schema{{"a", Type{Kind: KindJSON}}},
		},
		{
			"object of what has no type", `{"a":{"b":{"anyOf":[{"type":"string"},{"type":"integer"}]}}}`,
			one(`{"type":"object","properties":{"b":{"anyOf":[{"type":"string"},{"type":"integer"}]}},"required":["b"],"additionalProperties":false}`),
			Schema{{"a", Type{Kind: KindJSON}}},
		},
		{
			"members called schema and more", `{"schema":{"type":"string"},"why":"string"}`,
			`{"type":"object","properties":{"schema":{"type":"string"},"why":{"type":"string"}},"required":["schema","why"],"additionalProperties":false}`,
			Schema{{"schema", text}, {"why", text}},
		},
		{
			"choice of numbers in a whole schema", `{"type":"object","properties":{"a":{"enum":[1,2.5]}}}`,
			`{"type":"object","properties":{"a":{"enum":[1,2.5]}}}`,
			Schema{{"a", Type{Kind: KindNumber}}},
		},
		{
			"reference within the schema", `{"type":"object","properties":{"a":{"$ref":"#/$defs/t"}},"$defs":{"t":{"type":"string"}}}`,
			`{"type":"object","properties":{"a":{"$ref":"#/$defs/t"}},"$defs":{"t":{"type":"string"}}}`,
			Schema{{"a", Type{Kind: KindJSON}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer := answerOf(t, tt.node)
			if diff := cmp.Diff(tt.schema, string(answer.Schema)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.columns, answer.Properties); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewAnswerFaults(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, node, want string }{
		{"not an object", `["a"]`, "answer must name the members of the answer: {label: [yes, no], why: string}"},
		{"empty", `{}`, "answer is empty: name the members of the answer, as in {label: [yes, no]}"},
		{"empty object within", `{"a":{}}`, "answer.a is empty: name the members of the answer, as in {label: [yes, no]}"},
		{"misspelt type", `{"a":"strng"}`, `answer.a: there is no type "strng"; did you mean string?; types are string, integer, number, boolean; a choice is written [strng, …]`},
		{"unknown type", `{"a":"varchar"}`, `answer.a: there is no type "varchar"; types are string, integer, number, boolean; a choice is written [varchar, …]`},
		{"null", `{"a":null}`, "answer.a: write a type (string, integer, number, boolean), a list of choices, or an object"},
		{"no choices", `{"a":[]}`, "answer.a: the list of choices is empty"},
		{"the same choice twice", `{"a":["x","x"]}`, `answer.a lists "x" twice`},
		{"types as choices", `{"a":["string","integer"]}`, "answer.a lists types: write one of them, or [type] for a list"},
		{"list among choices", `{"a":["x",["y"]]}`, "answer.a: choices are texts, numbers, booleans or null, not a list"},
		{"schema of a list", `{"schema":{"type":"array"}}`, "answer.schema must be the JSON schema of an object: type: object, with properties"},
		{"schema without properties", `{"type":"object","properties":{}}`, "answer must describe an object with at least one property"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewAnswer(json.RawMessage(tt.node))
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
	other := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(other, []byte(`{"type":"string"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, reference := range map[string]string{
		"file": "file://" + filepath.ToSlash(other), "web": "https://example.com/schema.json", "other": "other.json",
	} {
		t.Run("reference to a "+name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewAnswer(json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"` + reference + `"}}}`)); err == nil {
				t.Error("a schema read another document")
			}
		})
	}
}

func messageOf(stopReason, text string) json.RawMessage {
	raw := []byte(`{"type":"message","model":"claude-haiku-4-5-20251001","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":`)
	raw = AppendString(raw, text)
	raw = append(raw, `}],"stop_reason":"`+stopReason+`","usage":{"input_tokens":10,"output_tokens":5}}`...)
	return raw
}

func resultOf(tb testing.TB, message json.RawMessage) *Result {
	tb.Helper()
	res := &Result{Status: Succeeded, Message: message, Attempts: 1, Calls: 1}
	var ok bool
	if res.StopReason, res.Model, res.Usage, ok = ReadMessage(message); !ok {
		tb.Fatalf("not a message: %s", message)
	}
	return res
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const node = `{"team":["billing","tech"],"n":"integer","tags":["string"],"at":{"x":"number?"},"free":{"type":["string","integer"],"pattern":"^[a-z]+$"}}`
	const good = `{"team":"tech","n":3,"tags":["a"],"at":{"x":1.5},"free":"abc"}`
	const misfit = "the answer does not fit the schema: "
	tests := []struct {
		name, stopReason, text string
		free                   bool
		reason                 Reason
		explanation            string
	}{
		{name: "good", stopReason: "end_turn", text: good},
		{name: "good with space around", stopReason: "end_turn", text: " \n" + good + "\n"},
		{name: "integers as JSON Schema has them", stopReason: "end_turn", text: `{"team":"tech","n":3.0,"tags":[],"at":{"x":null},"free":"a"}`},
		{name: "free text", stopReason: "stop_sequence", text: "anything", free: true},
		{name: "tool use without a schema", stopReason: "tool_use", text: "", free: true},
		{name: "refusal", stopReason: "refusal", text: good, reason: ReasonRefused, explanation: "the model declined to answer"},
		{name: "cut", stopReason: "max_tokens", text: good, reason: ReasonTruncated, explanation: "the answer was cut at max_tokens: raise request.max_tokens"},
		{name: "cut by the window", stopReason: "model_context_window_exceeded", free: true, reason: ReasonTruncated, explanation: "the answer was cut where the model's context window ended: shorten the prompt"},
		{name: "paused", stopReason: "pause_turn", free: true, reason: ReasonTruncated, explanation: "the model paused before it had answered (stop_reason pause_turn)"},
		{name: "no text", stopReason: "end_turn", text: "  ", reason: ReasonInvalid, explanation: "the answer has no text, where the schema asks for JSON"},
		{name: "no JSON", stopReason: "end_turn", text: "Sure! " + good, reason: ReasonInvalid, explanation: "the answer is not JSON"},
		{name: "JSON with a tail", stopReason: "end_turn", text: good + good, reason: ReasonInvalid, explanation: "the answer is not JSON"},
		{name: "member twice", stopReason: "end_turn", text: `{"team":"tech","team":"billing"}`, reason: ReasonInvalid, explanation: "the answer is JSON that has a member twice or half a surrogate pair"},
		{name: "not an object", stopReason: "end_turn", text: `["s3cret"]`, reason: ReasonInvalid, explanation: misfit + "it is array, must be object"},
		{name: "choice", stopReason: "end_turn", text: `{"team":"s3cret","n":3,"tags":[],"at":{"x":1},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "team is not one of its choices"},
		{name: "type", stopReason: "end_turn", text: `{"team":"tech","n":"s3cret","tags":[],"at":{"x":1},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "n is string, must be integer"},
		{name: "element", stopReason: "end_turn", text: `{"team":"tech","n":3,"tags":["a",5],"at":{"x":1},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "tags[1] is number, must be string"},
		{name: "inner choice of schemas", stopReason: "end_turn", text: `{"team":"tech","n":3,"tags":[],"at":{"x":"s3cret"},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "at.x fits none of the schemas that it may have"},
		{name: "missing", stopReason: "end_turn", text: `{"n":3,"tags":[],"at":{"x":1},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "it lacks team"},
		{name: "missing within", stopReason: "end_turn", text: `{"team":"tech","n":3,"tags":[],"at":{},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "at lacks x"},
		{name: "extra", stopReason: "end_turn", text: `{"s3cret":1,"team":"tech","n":3,"tags":[],"at":{"x":1},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "it has 1 members that the schema does not name"},
		{name: "pattern", stopReason: "end_turn", text: `{"team":"tech","n":3,"tags":[],"at":{"x":1},"free":"S3CRET"}`, reason: ReasonInvalid, explanation: misfit + `free breaks its rule "pattern"`},
		{name: "integer beyond 64 bits", stopReason: "end_turn", text: `{"team":"tech","n":99999999999999999999,"tags":[],"at":{"x":1},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "n is an integer beyond 64 bits"},
		{name: "exponent beyond reason", stopReason: "end_turn", text: `{"team":"tech","n":1e999999999,"tags":[],"at":{"x":1},"free":"a"}`, reason: ReasonInvalid, explanation: "the answer has a number beyond 64 bits"},
		{name: "number beyond 64 bits", stopReason: "end_turn", text: `{"team":"tech","n":1,"tags":[],"at":{"x":1e350},"free":"a"}`, reason: ReasonInvalid, explanation: misfit + "at member x is a number beyond 64 bits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := &Job{Request: &Template{}}
			if !tt.free {
				job.Answer = answerOf(t, node)
			}
			res := resultOf(t, messageOf(tt.stopReason, tt.text))
			job.Judge(res)
			want := Succeeded
			if tt.reason != "" {
				want = Failed
			}
			if res.Status != want || res.Reason != tt.reason || res.Error != tt.explanation {
				t.Errorf("got %s %s %q, want %s %q", res.Status, res.Reason, res.Error, tt.reason, tt.explanation)
			}
			if !res.Priced || res.Cost != 10*1000+5*5000 {
				t.Errorf("cost %v, priced %v", res.Cost, res.Priced)
			}
		})
	}
}

// What a message says of its circumstances is in its price.
func TestJudgePrices(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, model, usage string
		want               Nanodollars
		priced             bool
	}{
		{"usual", "claude-opus-5-5", `{"input_tokens":10}`, 40_000, true},
		{"fast", "claude-opus-5-5", `{"input_tokens":10,"speed":"fast"}`, 80_000, true},
		{"in the United States", "claude-opus-5-5", `{"input_tokens":10,"inference_geo":"us"}`, 44_000, true},
		{"anywhere", "claude-opus-5-5", `{"input_tokens":10,"inference_geo":"global"}`, 40_000, true},
		{"unknown model", "llama", `{"input_tokens":10}`, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := resultOf(t, json.RawMessage(`{"type":"message","stop_reason":"end_turn","model":"`+tt.model+`","usage":`+tt.usage+`}`))
			(&Job{Request: &Template{}}).Judge(res)
			if res.Cost != tt.want || res.Priced != tt.priced {
				t.Errorf("%d, %v", res.Cost, res.Priced)
			}
		})
	}
}

func TestJudgeLeavesAlone(t *testing.T) {
	t.Parallel()
	prewarm, err := NewTemplate(TemplateSource{Body: json.RawMessage(`{"max_tokens":0}`)})
	if err != nil {
		t.Fatal(err)
	}
	schema := answerOf(t, `{"a":"string"}`)
	failed := resultOf(t, messageOf("end_turn", "x"))
	failed.Status, failed.Reason, failed.Error = Failed, ReasonPoison, "why"
	tests := []struct {
		name string
		job  Job
		res  *Result
		want Reason
	}{
		{"answers to max_tokens 0", Job{Request: prewarm}, resultOf(t, messageOf("max_tokens", "")), ""},
		{"Message Batches", Job{}, resultOf(t, messageOf("refusal", "")), ""},
		{"what failed already", Job{Request: &Template{}, Answer: schema}, failed, ReasonPoison},
		{"results without a message", Job{Request: &Template{}, Answer: schema}, &Result{Status: Succeeded}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.job.Judge(tt.res)
			if tt.res.Reason != tt.want {
				t.Errorf("reason %q, want %q", tt.res.Reason, tt.want)
			}
			if tt.res.Message != nil && !tt.res.Priced {
				t.Error("not priced")
			}
		})
	}
}

// Judging never panics, and what it lets through fills its columns.
func FuzzAnswerCheck(f *testing.F) {
	for _, seed := range []string{`{"s":"x","n":1,"l":[1.5],"o":{"b":true}}`, `{"s":null,"n":3e2,"l":[],"o":{"b":false}}`, `{"n":1e400}`, `{`, `{"s":"a","s":"b"}`} {
		f.Add(seed)
	}
	answer := answerOf(f, `{"s":"string?","n":"integer","l":["number"],"o":{"b":"boolean"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if answer.check(text) != nil {
			return
		}
		for i := range answer.Properties {
			column := answer.Properties[i]
			if got := appendMember(nil, []byte(text), column); !json.Valid(got) || string(got) == "null" && column.Name != "s" {
				t.Fatalf("%s of %q gives %q", column.Name, text, got)
			}
		}
	})
}

func ExampleNewAnswer() {
	answer, err := NewAnswer(json.RawMessage(`{"team":["billing","tech"],"urgent":"boolean"}`))
	if err != nil {
		panic(err)
	}
	for _, column := range answer.Properties {
		os.Stdout.WriteString(column.Name + " " + string(column.Type.Kind) + "\n")
	}
	// Output:
	// team string
	// urgent boolean
}
