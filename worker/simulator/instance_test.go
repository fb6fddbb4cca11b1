package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

// asked is a body that asks for an instance of a schema, in the words given.
func asked(schema, words string) string {
	said := string(gjson.AppendJSONString(nil, words))
	return `{"model":"claude-haiku-4-5","max_tokens":64000,"output_config":{"format":{"type":"json_schema","schema":` + schema +
		`}},"messages":[{"role":"user","content":` + said + `}]}`
}

func validator(t *testing.T, schema string) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestInstanceFitsSchema(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"enum":                      `{"enum":["a","b",3,null,{"c":[1]}]}`,
		"const":                     `{"const":{"v":1}}`,
		"string":                    `{"type":"string"}`,
		"string with bounds":        `{"type":"string","minLength":40,"maxLength":41}`,
		"empty string":              `{"type":"string","maxLength":0}`,
		"pattern":                   `{"type":"string","pattern":"^[A-Z]{2,3}-[0-9]+(x|yy)?\\.[^a-z]\\w$"}`,
		"email":                     `{"type":"string","format":"email"}`,
		"date":                      `{"type":"string","format":"date"}`,
		"time":                      `{"type":"string","format":"time"}`,
		"date-time":                 `{"type":"string","format":"date-time"}`,
		"duration":                  `{"type":"string","format":"duration"}`,
		"hostname":                  `{"type":"string","format":"hostname"}`,
		"uri":                       `{"type":"string","format":"uri"}`,
		"ipv4":                      `{"type":"string","format":"ipv4"}`,
		"ipv6":                      `{"type":"string","format":"ipv6"}`,
		"uuid":                      `{"type":"string","format":"uuid"}`,
		"integer":                   `{"type":"integer"}`,
		"integer with bounds":       `{"type":"integer","minimum":-3,"exclusiveMaximum":-1}`,
		"integer above":             `{"type":"integer","minimum":2000000000000}`,
		"integer below":             `{"type":"integer","maximum":-7}`,
		"integer multiple":          `{"type":"integer","minimum":1,"maximum":100,"multipleOf":7}`,
		"integer of halves":         `{"type":"integer","minimum":1,"maximum":3,"multipleOf":0.5}`,
		"integer between fractions": `{"type":"integer","minimum":0.5,"maximum":1.5}`,
		"number":                    `{"type":"number"}`,
		"number with bounds":        `{"type":"number","minimum":0.001,"maximum":0.004}`,
		"number within open bounds": `{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":0.01}`,
		"number multiple":           `{"type":"number","minimum":0,"maximum":1,"multipleOf":0.05}`,
		"boolean":                   `{"type":"boolean"}`,
		"null":                      `{"type":"null"}`,
		"type list":                 `{"type":["string","null","integer"]}`,
		"array":                     `{"type":"array","items":{"type":"integer"}}`,
		"array without items":       `{"type":"array"}`,
		"array with bounds":         `{"type":"array","items":{"type":"boolean"},"minItems":4,"maxItems":5}`,
		"array that is empty":       `{"type":"array","items":{"type":"boolean"},"maxItems":0}`,
		"array of unique labels":    `{"type":"array","items":{"enum":["a","b","c"]},"minItems":3,"uniqueItems":true}`,
		"object": `{"type":"object","properties":{"a":{"type":"string"},"b c":{"type":"integer"},"ü\"":{"type":"null"}},
			"required":["a","ü\""],"additionalProperties":false}`,
		"object in object":   `{"type":"object","properties":{"o":{"type":"object","properties":{"p":{"enum":[1]}},"required":["p"]}},"required":["o"]}`,
		"required undefined": `{"type":"object","required":["z","y"]}`,
		"no type":            `{"properties":{"a":{"items":{"minimum":3}}},"required":["a"]}`,
		"anyOf":              `{"anyOf":[{"type":"string"},{"type":"integer"},{"type":"object","properties":{"k":{"const":"x"}},"required":["k"]}]}`,
		"oneOf":              `{"oneOf":[{"type":"string"},{"type":"boolean"}]}`,
		"allOf": `{"allOf":[{"$ref":"#/$defs/a"},{"type":"object","properties":{"b":{"type":"integer"}},"required":["b"]}],
			"$defs":{"a":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}}}`,
		"reference": `{"type":"object","properties":{"x":{"$ref":"#/$defs/l~1~0 s"}},"required":["x"],"$defs":{"l/~ s":{"enum":["u","v"]}}}`,
		"definitions as older drafts have them": `{"type":"object","properties":{"x":{"$ref":"#/definitions/l"}},"required":["x"],
			"definitions":{"l":{"enum":["u","v"]}}}`,
		"list that refers to itself": `{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},
			"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}}}`,
		"tree that refers to itself": `{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}},
			"more":{"type":"array","items":{"$ref":"#"}}},"required":["children","more"]}`,
	}
	for name, schema := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			valid := validator(t, schema)
			s := simulator.New(simulator.Options{})
			for i := range 200 {
				w := send(t, s, asked(schema, fmt.Sprint("record ", i)))
				if stop := gjson.Get(w.Body.String(), "stop_reason").Str; stop != "end_turn" {
					t.Fatalf("got %d with stop reason %q: %.300s", w.Code, stop, w.Body)
				}
				text := gjson.Get(w.Body.String(), "content.0.text").Str
				v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
				if err != nil {
					t.Fatalf("%v: %s", err, text)
				}
				if err := valid.Validate(v); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				if len(text) > 20_000 {
					t.Fatalf("an instance of %d bytes", len(text))
				}
			}
		})
	}
}

// Schemas that no finite or sensible instance fits must still be answered, in bounded time and memory.
func TestImpossibleSchemas(t *testing.T) {
	t.Parallel()
	for name, schema := range map[string]string{
		"requires itself":          `{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"}},"required":["a"]}`,
		"requires itself twice":    `{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"}},"required":["a","b"]}`,
		"refers to itself only":    `{"$ref":"#"}`,
		"two that refer in a ring": `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`,
		"allOf of itself":          `{"allOf":[{"$ref":"#"}]}`,
		"reference to nothing":     `{"$ref":"#/$defs/none"}`,
		"reference elsewhere":      `{"$ref":"https://example.com/s"}`,
		"a billion elements":       `{"type":"array","minItems":1000000000}`,
		"a billion characters":     `{"type":"string","minLength":1000000000}`,
		"unique beyond its values": `{"type":"array","items":{"type":"boolean"},"minItems":50,"uniqueItems":true}`,
		"empty enum":               `{"enum":[]}`,
		"bounds crossed":           `{"type":"integer","minimum":5,"maximum":1,"minLength":-5,"minItems":-5}`,
		"maxItems below minItems":  `{"type":"array","minItems":5,"maxItems":1}`,
		"huge numbers":             `{"type":"integer","minimum":1e300,"maximum":1e308}`,
		"types that are none":      `{"type":["thing",5]}`,
		"pattern of Perl":          `{"type":"string","pattern":"(?<=a)b"}`,
		"empty character class":    `{"type":"string","pattern":"[^\\x00-\\x{10FFFF}]"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := send(t, simulator.New(simulator.Options{}), asked(schema, "x"))
			text := gjson.Get(w.Body.String(), "content.0.text").Str
			if w.Code != 200 || !gjson.Valid(text) || len(text) > 300_000 {
				t.Errorf("got %d and %d bytes: %.200s", w.Code, len(text), text)
			}
		})
	}
}

func TestLabelsVaryAndFollowTheText(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","properties":{"label":{"enum":["card_arrival","lost_card","exchange_rate","top_up"]}},"required":["label"]}`
	s := simulator.New(simulator.Options{})
	seen, named := map[string]int{}, 0
	const calls = 400
	for i := range calls {
		answer := func(words string) string {
			body := send(t, s, asked(schema, words)).Body.String()
			return gjson.Get(gjson.Get(body, "content.0.text").Str, "label").Str
		}
		seen[answer(fmt.Sprint("record ", i))]++
		if answer(fmt.Sprint("What is the Exchange rate today? ", i)) == "exchange_rate" {
			named++
		}
	}
	for label, n := range seen {
		if n < calls/8 {
			t.Errorf("%s comes up %d times in %d", label, n, calls)
		}
	}
	if len(seen) != 4 {
		t.Errorf("labels seen: %v", seen)
	}
	if named < calls*7/10 || named == calls {
		t.Errorf("the label that the text names came %d times in %d", named, calls)
	}
}

func TestToolIsCalled(t *testing.T) {
	t.Parallel()
	const tools = `"tools":[{"name":"a","input_schema":{"type":"object","properties":{"x":{"enum":[1,2]}},"required":["x"]}},
		{"name":"b","input_schema":{"type":"object"}},{"type":"bash_20250124","name":"bash"}]`
	s := simulator.New(simulator.Options{})
	get := func(body string) gjson.Result {
		w := send(t, s, body)
		if w.Code != 200 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		return gjson.ParseBytes(w.Body.Bytes())
	}
	if m := get(with(tools)); m.Get("content.0.type").Str != "text" || m.Get("stop_reason").Str != "end_turn" {
		t.Errorf("without tool_choice: %s", m)
	}
	m := get(with(tools + `,"tool_choice":{"type":"tool","name":"a"}`))
	if m.Get("content.0.type").Str != "tool_use" || m.Get("stop_reason").Str != "tool_use" || m.Get("content.0.name").Str != "a" ||
		m.Get("content.0.input.x").Int() < 1 || !strings.HasPrefix(m.Get("content.0.id").Str, "toolu_") {
		t.Errorf("with a tool named: %s", m)
	}
	names := map[string]bool{}
	for i := range 60 {
		body := strings.Replace(with(tools+`,"tool_choice":{"type":"any"}`), "card", fmt.Sprint("card", i), 1)
		names[get(body).Get("content.0.name").Str] = true
	}
	if len(names) != 3 {
		t.Errorf("any chose among %v", names)
	}
	m = get(strings.Replace(with(tools+`,"tool_choice":{"type":"tool","name":"a"}`), "200", "1", 1))
	if m.Get("stop_reason").Str != "max_tokens" || m.Get("content.0.input").Raw != "{}" {
		t.Errorf("a tool's input over max_tokens: %s", m)
	}
}

func TestPlainTextLengths(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		options          simulator.Options
		maxTokens        int
		least, most, med int64
	}{
		{"usual", simulator.Options{}, 4000, 1, 600, 60},
		{"long", simulator.Options{AnswerTokens: 1000}, 60000, 100, 10000, 1000},
		{"bounded by max_tokens", simulator.Options{AnswerTokens: 1000}, 50, 30, 50, 45},
		{"a few tokens", simulator.Options{}, 3, 1, 3, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := simulator.New(test.options)
			below := 0
			for i := range 300 {
				body := strings.Replace(plainBody, "card", fmt.Sprint("card", i), 1)
				m := gjson.ParseBytes(send(t, s, strings.Replace(body, "200", fmt.Sprint(test.maxTokens), 1)).Body.Bytes())
				n := m.Get("usage.output_tokens").Int()
				if n < test.least || n > test.most || m.Get("stop_reason").Str != "end_turn" || m.Get("content.0.text").Str == "" {
					t.Fatalf("got %d tokens: %s", n, m)
				}
				if n < test.med {
					below++
				}
			}
			if test.most > 100 && (below < 100 || below > 230) {
				t.Errorf("%d of 300 are shorter than %d", below, test.med)
			}
		})
	}
}

func TestAnswerCutByMaxTokens(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","properties":{"ww":{"const":"größergrößergrößergrößergrößer"}},"required":["ww"]}`
	s := simulator.New(simulator.Options{})
	all := simulator.New(simulator.Options{Truncate: 1})
	for n := 1; n < 9; n++ {
		body := strings.Replace(asked(schema, "x"), "64000", fmt.Sprint(n), 1)
		m := gjson.ParseBytes(send(t, s, body).Body.Bytes())
		text := m.Get("content.0.text").Str
		if m.Get("stop_reason").Str != "max_tokens" || len(text) > 4*n || len(text) < 4*n-1 || strings.ContainsRune(text, utf8.RuneError) || !utf8.ValidString(text) || m.Get("usage.output_tokens").Int() != int64(n) {
			t.Errorf("max_tokens %d: %s", n, m)
		}
	}
	m := gjson.ParseBytes(send(t, all, asked(schema, "x")).Body.Bytes())
	if m.Get("stop_reason").Str != "max_tokens" || gjson.Valid(m.Get("content.0.text").Str) || m.Get("usage.output_tokens").Int() != 64000 {
		t.Errorf("truncated on demand: %s", m)
	}
	m = gjson.ParseBytes(send(t, s, strings.Replace(plainBody, "200", "0", 1)).Body.Bytes())
	if m.Get("stop_reason").Str != "max_tokens" || m.Get("content").Raw != "[]" || m.Get("usage.output_tokens").Int() != 0 {
		t.Errorf("max_tokens 0: %s", m)
	}
}

func TestThinkingComesFirst(t *testing.T) {
	t.Parallel()
	m := gjson.ParseBytes(send(t, simulator.New(simulator.Options{}), with(`"thinking":{"type":"adaptive"}`)).Body.Bytes())
	if m.Get("content.0.type").Str != "thinking" || m.Get("content.1.type").Str != "text" {
		t.Fatalf("got %s", m)
	}
	if think, out := m.Get("usage.output_tokens_details.thinking_tokens").Int(), m.Get("usage.output_tokens").Int(); think == 0 || think >= out {
		t.Errorf("%d thinking tokens of %d", think, out)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Options{Refuse: 0.25})
	refused := 0
	for i := range 400 {
		body := strings.Replace(plainBody, "card", fmt.Sprint("card", i), 1)
		w := send(t, s, body)
		m := gjson.ParseBytes(w.Body.Bytes())
		if m.Get("stop_reason").Str != "refusal" {
			continue
		}
		refused++
		if w.Code != 200 || m.Get("content").Raw != "[]" || m.Get("stop_details.type").Str != "refusal" {
			t.Fatalf("got %d %s", w.Code, m)
		}
		if send(t, s, body).Body.String() != w.Body.String() {
			t.Fatal("a refused request is answered when it comes again")
		}
	}
	if refused < 60 || refused > 140 {
		t.Errorf("%d of 400 are refused, want a quarter", refused)
	}
}

// FuzzMessages sends arbitrary bodies: never a panic, always a JSON document of the service's shape.
func FuzzMessages(f *testing.F) {
	f.Add(plainBody)
	f.Add(with(`"stream":true,"thinking":{"type":"enabled","budget_tokens":1024}`))
	f.Add(with(`"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}]`))
	f.Add(with(`"tool_choice":{"type":"any"},"tools":[{"name":"t","input_schema":{"$ref":"#"}}]`))
	f.Add(asked(`{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"type":["array","null"],"items":{"pattern":"^[a-z]+$"}}}}`, "x"))
	f.Add(`{"model":"claude","max_tokens":9e99,"messages":[null]}`)
	f.Fuzz(func(t *testing.T, body string) {
		w := send(t, simulator.New(simulator.Options{}), body)
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
			collect(t, w.Body.Bytes())
			return
		}
		kind := gjson.Get(w.Body.String(), "type").Str
		if !gjson.Valid(w.Body.String()) || (kind == "message") != (w.Code == 200) || (kind == "error") != (w.Code != 200) {
			t.Fatalf("got %d %q", w.Code, w.Body)
		}
	})
}

// FuzzSchema asks for instances of arbitrary schemas: always JSON, of bounded size.
func FuzzSchema(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"type":["array","null"],"items":{"$ref":"#"},"minItems":2,"uniqueItems":true}}}`)
	f.Add(`{"allOf":[{"$ref":"#/$defs/a"},{"required":["x"]}],"$defs":{"a":{"anyOf":[{"pattern":"^([a-c]{2,9}|\\d*)+$"},{"format":"uuid"}]}}}`)
	f.Add(`{"type":"number","exclusiveMinimum":-1e308,"maximum":1e308,"multipleOf":1e-300}`)
	f.Add(`{"enum":["a_b",null,1.5],"const":{}}`)
	f.Fuzz(func(t *testing.T, schema string) {
		if !gjson.Valid(schema) || !gjson.Parse(schema).IsObject() {
			return
		}
		w := send(t, simulator.New(simulator.Options{}), asked(schema, "a b"))
		if w.Code != 200 {
			if !utf8.ValidString(schema) {
				return
			}
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		text := gjson.Get(w.Body.String(), "content.0.text").Str
		if stop := gjson.Get(w.Body.String(), "stop_reason").Str; stop == "end_turn" && !gjson.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		if len(text) > 100*len(schema)+1_000_000 {
			t.Fatalf("%d bytes for a schema of %d", len(text), len(schema))
		}
	})
}
