package jobs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recordOf reads a JSON object as a record, values spelled as they are.
func recordOf(tb testing.TB, object string) *Record {
	tb.Helper()
	if !json.Valid([]byte(object)) {
		tb.Fatalf("record is not JSON: %s", object)
	}
	rec := &Record{}
	for name, raw := range ObjectMembers([]byte(object)) {
		rec.Fields = append(rec.Fields, Member{name, raw})
	}
	return rec
}

// bodyOf makes a request whose one message has a text.
func bodyOf(text string) json.RawMessage {
	return append(AppendString([]byte(`{"content":`), text), '}')
}

func templateOf(tb testing.TB, text string) *Template {
	tb.Helper()
	tmpl, err := NewTemplate(TemplateSource{Body: bodyOf(text), Dir: "testdata/template"})
	if err != nil {
		tb.Fatalf("compile %q: %v", text, err)
	}
	return tmpl
}

// The rules of the template language, one row each.
func TestTemplateRendersText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, template, record, want string
	}{
		{"text of a column", "Hi {{.name}}!", `{"name":"Ana"}`, "Hi Ana!"},
		{"no template at all", "plain", `{}`, "plain"},
		{"escapes in the input", "{{.a}}", `{"a":"x\n\t\"\\ \u00e9 \ud83d\ude00 \/"}`, "x\n\t\"\\ é 😀 /"},
		{"control characters", "{{.a}}", `{"a":"\u0000\u001f\r"}`, "\x00\x1f\r"},
		{"lone surrogate", "{{.a}}", `{"a":"\ud800"}`, "\uFFFD"},
		{"signs of HTML stay", "<b>{{.a}}</b>&", `{"a":"<i>&"}`, "<b><i>&</b>&"},
		{"value with template signs is not a template", "{{.a}}", `{"a":"{{.b}}"}`, "{{.b}}"},
		{"null is empty", "[{{.a}}]", `{"a":null}`, "[]"},
		{"member of null is empty", "[{{.a.b.c}}]", `{"a":null}`, "[]"},
		{"large number without exponent", "{{.a}}", `{"a":12345678901}`, "12345678901"},
		{"float as spelled", "{{.a}} {{.b}}", `{"a":1.50,"b":1e3}`, "1.50 1e3"},
		{"integer beyond 64 bits", "{{.a}}", `{"a":123456789012345678901234567890}`, "123456789012345678901234567890"},
		{"booleans", "{{.a}} {{.b}}", `{"a":true,"b":false}`, "true false"},
		{"date as it is", "{{.a}}", `{"a":"2026-11-22"}`, "2026-11-22"},
		{"list as compact JSON", "{{.a}}", `{"a":[1, "x y",  null]}`, `[1,"x y",null]`},
		{"object in its own order with exact numbers", "{{.a}}", `{"a":{"z": 1.10, "b": "<"}}`, `{"z":1.10,"b":"<"}`},
		{"member of an object", "{{.a.b.c}}", `{"a":{"b":{"c":"deep"}}}`, "deep"},
		{"whole record", "{{.}}", `{"b":1,"a":"x"}`, `{"b":1,"a":"x"}`},
		{"column with a space", `{{col "Ticket ID"}}`, `{"Ticket ID":7}`, "7"},
		{"column with a dot", `{{col "a.b"}}`, `{"a.b":7}`, "7"},
		{"column with letters of other alphabets", "{{.größe}}", `{"größe":"L"}`, "L"},
		{"json of text", "{{json .a}}.", `{"a":"say \"hi\""}`, `"say \"hi\"".`},
		{"json amid text", "turns: {{json .a}}", `{"a":[ 1 , 2 ]}`, "turns: [1,2]"},
		{"json of null", "x {{json .a}}", `{"a":null}`, "x null"},
		{"file verbatim", `{{file "braces.txt"}}`, `{}`, "Answer as {{\"a\": 1}}.\n"},
		{"file beside a column", `{{.a}}|{{file "braces.txt"}}`, `{"a":"x"}`, "x|Answer as {{\"a\": 1}}.\n"},
		{"byte order mark is not text", `{{file "bom.txt"}}`, `{}`, "after the mark"},
		{"include with the record", `> {{include "greet.tmpl"}} <`, `{"name":"Ana"}`, "> Dear Ana, <"},
		{"include as an argument", `{{include "greet.tmpl" | truncate 4}}`, `{"name":"Ana"}`, "Dear"},
		{"include within range keeps the record", `{{range .l}}{{include "greet.tmpl"}}{{end}}`, `{"l":[1],"name":"B"}`, "Dear B,"},
		{"include after text of the same branch", `{{if .name}}Hm: {{include "greet.tmpl"}}{{end}}`, `{"name":"Ana"}`, "Hm: Dear Ana,"},
		{"include keeps its variables to itself", `{{$x := .name}}{{include "variable.tmpl"}} {{$x}}`, `{"name":"outer"}`, "inner outer"},
		{"truncate counts characters", "{{truncate 2 .a}}", `{"a":"日本語"}`, "日本"},
		{"truncate leaves short text", "{{truncate 9 .a}}", `{"a":"日本"}`, "日本"},
		{"truncate of null", "[{{truncate 9 .a}}]", `{"a":null}`, "[]"},
		{"truncate piped", "{{.a | truncate 1}}", `{"a":"xy"}`, "x"},
		{"default for null", `{{default "none" .a}}`, `{"a":null}`, "none"},
		{"default for missing", `{{default "none" .a}}`, `{}`, "none"},
		{"default for empty text", `{{.a | default "none"}}`, `{"a":""}`, "none"},
		{"default for empty list", `{{default "none" .a}}`, `{"a":[ ]}`, "none"},
		{"default keeps false and 0", `{{default 1 .a}} {{default 1 .b}}`, `{"a":false,"b":0}`, "false 0"},
		{"default for missing member", `{{default "none" .a.b}}`, `{"a":{}}`, "none"},
		{"default for missing element", `{{default "none" (index .a 3)}}`, `{"a":[1]}`, "none"},
		{"join", `{{join ", " .a}}`, `{"a":["x",1,null,"y"]}`, "x, 1, , y"},
		{"join of null", `[{{join ", " .a}}]`, `{"a":null}`, "[]"},
		{"index of list", "{{index .a 1}}", `{"a":["x","y"]}`, "y"},
		{"index of object", `{{index .a "b c"}}`, `{"a":{"b c":1}}`, "1"},
		{"index twice", `{{index .a 0 "b"}}`, `{"a":[{"b":"z"}]}`, "z"},
		{"member of an element", `{{(index .a 0).b}}`, `{"a":[{"b":"z"}]}`, "z"},
		{"len", "{{len .a}} {{len .b}} {{len .c}} {{len .d}}", `{"a":[1,2],"b":"日本","c":{"x":1},"d":null}`, "2 2 1 0"},
		{"if of missing", "{{if .a}}yes{{else}}no{{end}}", `{}`, "no"},
		{"if of null", "{{if .a}}yes{{else}}no{{end}}", `{"a":null}`, "no"},
		{"if of 0.00", "{{if .a}}yes{{else}}no{{end}}", `{"a":0.00}`, "no"},
		{"if of text", "{{if .a}}yes{{else}}no{{end}}", `{"a":"0"}`, "yes"},
		{"else if", "{{if .a}}1{{else if .b}}2{{else}}3{{end}}", `{"a":false,"b":true}`, "2"},
		{"and or not of missing", "{{if or (not .a) (and .a .b)}}yes{{end}}", `{}`, "yes"},
		{"or gives the first that is true", `{{or .a .b "c"}}`, `{"a":"","b":"B"}`, "B"},
		{"and leaves the rest alone", `{{and .a (index .b 5)}}`, `{"a":"","b":[]}`, ""},
		{"with", "{{with .a}}{{.b}}{{end}}", `{"a":{"b":1}}`, "1"},
		{"with of missing", "{{with .a}}x{{else}}none{{end}}", `{}`, "none"},
		{"range over list", "{{range .a}}<{{.}}>{{end}}", `{"a":[1,"x"]}`, "<1><x>"},
		{"range over objects", "{{range .a}}{{.r}}: {{.c}}\n{{end}}", `{"a":[{"r":"user","c":"hi"},{"r":"bot","c":"yo"}]}`, "user: hi\nbot: yo\n"},
		{"range with place and element", "{{range $i, $e := .a}}{{$i}}={{$e}};{{end}}", `{"a":["x","y"]}`, "0=x;1=y;"},
		{"range over members in order", "{{range $k, $v := .a}}{{$k}}={{$v}};{{end}}", `{"a":{"z":1,"b":2}}`, "z=1;b=2;"},
		{"range over null", "{{range .a}}x{{else}}none{{end}}", `{"a":null}`, "none"},
		{"range over nothing", "{{range .a}}x{{else}}none{{end}}", `{"a":[]}`, "none"},
		{"break and continue", "{{range .a}}{{if eq . 2}}{{continue}}{{end}}{{if eq . 4}}{{break}}{{end}}{{.}}{{end}}", `{"a":[1,2,3,4,5]}`, "13"},
		{"record within range", "{{range .a}}{{$.n}}{{end}}", `{"a":[1,2],"n":"x"}`, "xx"},
		{"col within range", `{{range .a}}{{col "n"}}{{end}}`, `{"a":[1,2],"n":"x"}`, "xx"},
		{"variables", "{{$x := .a}}{{if .b}}{{$x = .b}}{{end}}{{$x}}", `{"a":"1","b":"2"}`, "2"},
		{"variable of an inner scope", "{{$x := 1}}{{with .a}}{{$x := 2}}{{$x}}{{end}}{{$x}}", `{"a":true}`, "21"},
		{"trimmed space", "a {{- .x -}} b", `{"x":1}`, "a1b"},
		{"comment", "a{{/* note */}}b{{.x}}", `{"x":1}`, "ab1"},
		{"literal text", `{{"{{"}}x{{"}}"}} {{.a}}`, `{"a":1}`, "{{x}} 1"},
		{"numbers as Go writes them", "{{0x1F}} {{1_000}} {{eq .a 0x1F}}", `{"a":31}`, "31 1000 true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tmpl, rec := templateOf(t, tt.template), recordOf(t, tt.record)
			if _, err := tmpl.Render(rec); err != nil {
				t.Fatal(err)
			}
			body, err := tmpl.Render(rec) // with the buffers of the first
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Content string `json:"content"`
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("body is not JSON: %v\n%s", err, body)
			}
			if diff := cmp.Diff(tt.want, got.Content); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTemplateCompares(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, expression, record string
		want                     string
	}{
		{"numbers of different spelling", "eq .a 1", `{"a":1.0}`, "true"},
		{"small numbers", "eq .a 1e-3", `{"a":0.00100}`, "true"},
		{"order of small numbers", "lt .a .b", `{"a":0.012,"b":0.11}`, "true"},
		{"numbers with exponents", "eq .a 1500", `{"a":15e2}`, "true"},
		{"numbers a float cannot tell apart", "eq .a 9007199254740993", `{"a":9007199254740992}`, "false"},
		{"numbers beyond 64 bits", "lt .a .b", `{"a":99999999999999999999,"b":100000000000000000000}`, "true"},
		{"exponents beyond reason", "gt .a .b", `{"a":1e999999999999999999999,"b":1e999999999}`, "true"},
		{"negative numbers", "lt .a .b", `{"a":-2.5,"b":-2.4}`, "true"},
		{"minus nothing", "eq .a 0", `{"a":-0.0}`, "true"},
		{"text as text", "lt .a .b", `{"a":"10","b":"9"}`, "true"},
		{"text that spells a number beside a number", "gt .a 9", `{"a":"10"}`, "true"},
		{"text that spells none", "eq .a 9", `{"a":"nine"}`, "false"},
		{"zip codes stay text", "eq .a .b", `{"a":"01","b":"1"}`, "false"},
		{"one of several", `eq .a "x" "y"`, `{"a":"y"}`, "true"},
		{"escaped text", `eq .a "é"`, `{"a":"\u00e9"}`, "true"},
		{"null is null", "eq .a nil", `{"a":null}`, "true"},
		{"null is not empty text", `eq .a ""`, `{"a":null}`, "false"},
		{"null has no order", "lt .a 5", `{"a":null}`, "false"},
		{"booleans", "eq .a true", `{"a":true}`, "true"},
		{"ne", `ne .a "x"`, `{"a":"y"}`, "true"},
		{"le", "le .a 5", `{"a":5.0}`, "true"},
		{"ge", "ge .a 5", `{"a":4.9}`, "false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body, err := templateOf(t, "{{"+tt.expression+"}}").Render(recordOf(t, tt.record))
			if err != nil {
				t.Fatal(err)
			}
			if want := `{"content":"` + tt.want + `"}`; string(body) != want {
				t.Errorf("got %s, want %s", body, want)
			}
		})
	}
}

// A record that does not fit the template fails with a sentence that holds nothing of it.
func TestTemplateRefusesRecords(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	tests := []struct{ name, template, record, want string }{
		{"missing column", "{{.a}}", `{"b":"s3cret"}`, `no column "a"`},
		{"missing column in json", "{{json .a}}", `{"b":"s3cret"}`, `no column "a"`},
		{"missing column in a comparison", "{{if eq .a 1}}x{{end}}", `{"b":"s3cret"}`, `no column "a"`},
		{"missing column in range", "{{range .a}}x{{end}}", `{}`, `no column "a"`},
		{"missing member", "{{.a.b}}", `{"a":{"s3cret":"s3cret"}}`, `no member "b" in .a.b`},
		{"member of text", "{{.a.b}}", `{"a":"s3cret"}`, `.a.b: text has no member "b"`},
		{"missing element", "{{index .a 3}}", `{"a":["s3cret"]}`, "index: the list has no such element"},
		{"missing key", "{{index .a .k}}", `{"a":{"x":1},"k":"s3cret"}`, "index: the object has no such member"},
		{"index of text", "{{index .a 0}}", `{"a":"s3cret"}`, "index takes a list or an object, not text"},
		{"index by text", "{{index .a .k}}", `{"a":[1],"k":"s3cret"}`, "index takes a whole number for a list, not text"},
		{"order of text and number", "{{if lt .a 5}}x{{end}}", `{"a":"s3cret"}`, "lt cannot compare text with a number"},
		{"range over text", "{{range .a}}x{{end}}", `{"a":"s3cret"}`, "range takes a list or an object, not text"},
		{"join of text", `{{join "," .a}}`, `{"a":"s3cret"}`, "join takes a list, not text"},
		{"truncate by text", "{{truncate .a .a}}", `{"a":"s3cret"}`, "truncate takes how many characters to keep first: {{truncate 500 .column}}"},
		{"broken record", "{{.a}}", `{}`, `no column "a"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := templateOf(t, tt.template).Render(recordOf(t, tt.record))
			if err == nil {
				t.Fatal("rendered")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error quotes the record: %v", err)
			}
		})
	}
}

func TestTemplateBuildsBodies(t *testing.T) {
	t.Parallel()
	answer := &Answer{Schema: json.RawMessage(`{"type": "object", "description": "{{not a template}}"}`)}
	tests := []struct {
		name, body, record, want string
		answer                   *Answer
	}{
		{
			name: "keys keep their order", record: `{"q":"hi"}`,
			body: `{ "model": "m", "max_tokens": 2, "messages": [ {"role": "user", "content": "{{.q}}"} ], "a": {} , "b": [], "t": 0.50 }`,
			want: `{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"hi"}],"a":{},"b":[],"t":0.50}`,
		},
		{
			name: "sole json becomes the value", record: `{"turns":[ {"role":"user"} ],"n":5}`,
			body: `{"messages":"{{json .turns}}","max_tokens":" {{ .n | json }} "}`,
			want: `{"messages":[{"role":"user"}],"max_tokens":5}`,
		},
		{
			name: "two actions are text", record: `{"a":1}`,
			body: `{"x":"{{json .a}}{{json .a}}"}`,
			want: `{"x":"11"}`,
		},
		{
			name: "answer without output_config", record: `{}`, answer: answer,
			body: `{"model":"m"}`,
			want: `{"model":"m","output_config":{"format":{"type":"json_schema","schema":{"type":"object","description":"{{not a template}}"}}}}`,
		},
		{
			name: "answer beside effort", record: `{}`, answer: answer,
			body: `{"output_config":{"effort":"low"},"model":"m"}`,
			want: `{"output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"object","description":"{{not a template}}"}}},"model":"m"}`,
		},
		{
			name: "answer in an empty request", record: `{}`, answer: answer,
			body: `{}`,
			want: `{"output_config":{"format":{"type":"json_schema","schema":{"type":"object","description":"{{not a template}}"}}}}`,
		},
		{
			name: "keys are not templates", record: `{}`,
			body: `{"{{x}}":true}`,
			want: `{"{{x}}":true}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := NewTemplate(TemplateSource{Body: json.RawMessage(tt.body), Answer: tt.answer})
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.Render(recordOf(t, tt.record))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTemplateKnowsItsRequest(t *testing.T) {
	t.Parallel()
	tmpl, err := NewTemplate(TemplateSource{
		Body: json.RawMessage(`{"model":"claude-haiku-4-5","max_tokens":200,"system":"{{file \"braces.txt\"}}",
			"messages":[{"content":"<{{.b}}> {{.a.x}} {{.b}} {{range .l}}{{.inner}}{{$.c}}{{end}} {{col \"d e\"}} {{include \"greet.tmpl\"}}"}]}`),
		Dir: "testdata/template",
	})
	if err != nil {
		t.Fatal(err)
	}
	if tmpl.Model() != "claude-haiku-4-5" || tmpl.MaxTokens() != 200 {
		t.Errorf("model %q, max_tokens %d", tmpl.Model(), tmpl.MaxTokens())
	}
	if diff := cmp.Diff([]string{"b", "a", "l", "c", "d e", "name"}, tmpl.Columns()); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{`"model": "claude-haiku-4-5"`, `"<{{.b}}> `, `"braces.txt": "`, `"greet.tmpl": "`} {
		if !strings.Contains(tmpl.Source(), part) {
			t.Errorf("source lacks %s:\n%s", part, tmpl.Source())
		}
	}
	varying, err := NewTemplate(TemplateSource{Body: json.RawMessage(`{"model":"{{.m}}","max_tokens":"{{json .n}}"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if varying.Model() != "" || varying.MaxTokens() != 0 {
		t.Errorf("templated model %q, max_tokens %d", varying.Model(), varying.MaxTokens())
	}
}

// The digest changes with everything that changes a request, and with nothing else.
func TestTemplateDigest(t *testing.T) {
	t.Parallel()
	digest := func(body, file string, answer *Answer) Digest {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		tmpl, err := NewTemplate(TemplateSource{Body: json.RawMessage(body), Dir: dir, Answer: answer})
		if err != nil {
			t.Fatal(err)
		}
		return tmpl.Digest()
	}
	answer := func(schema string) *Answer { return &Answer{Schema: json.RawMessage(schema)} }
	const body = `{"a":"{{file \"p\"}}"}`
	first := digest(body, "x", nil)
	if again := digest(` {"a": "{{file \"p\"}}" }`, "x", nil); again != first {
		t.Error("another folder and spelling gave another digest")
	}
	for name, other := range map[string]Digest{
		"body": digest(`{"a":"{{file \"p\"}} "}`, "x", nil), "file": digest(body, "y", nil), "answer": digest(body, "x", answer(`{}`)),
	} {
		if other == first {
			t.Errorf("a change of %s gave the same digest", name)
		}
	}
	if digest(body, "x", answer(`{"a":1}`)) == digest(body, "x", answer(`{"a":2}`)) {
		t.Error("a change of the schema gave the same digest")
	}
}

func TestTemplateRendersConcurrently(t *testing.T) {
	t.Parallel()
	tmpl := templateOf(t, `{{$x := .a}}{{range .l}}{{$x}}{{.}}{{end}}{{include "greet.tmpl"}}`)
	var group sync.WaitGroup
	for _, name := range []string{"A", "B", "C", "D"} {
		rec := recordOf(t, `{"a":"`+name+`","l":[1,2],"name":"`+name+`"}`)
		want := `{"content":"` + name + "1" + name + "2Dear " + name + `,"}`
		group.Go(func() {
			for range 200 {
				if got, err := tmpl.Render(rec); err != nil || string(got) != want {
					t.Errorf("got %s, %v; want %s", got, err, want)
					return
				}
			}
		})
	}
	group.Wait()
}

// A body is valid UTF-8 whatever a record holds.
func TestTemplateMendsInvalidText(t *testing.T) {
	t.Parallel()
	rec := &Record{Fields: []Member{{"a", json.RawMessage("\"x\xffy\"")}}}
	body, err := templateOf(t, "{{.a}}").Render(rec)
	if want := `{"content":"x` + "\uFFFD" + `y"}`; err != nil || string(body) != want {
		t.Errorf("got %q, %v; want %q", body, err, want)
	}
}

func BenchmarkTemplateTwoColumns(b *testing.B) {
	tmpl, err := NewTemplate(TemplateSource{Body: json.RawMessage(`{"model":"claude-haiku-4-5","max_tokens":200,
		"system":"You sort messages.","messages":[{"role":"user","content":"Subject: {{.subject}}\n\n{{.body}}"}]}`)})
	if err != nil {
		b.Fatal(err)
	}
	rec := recordOf(b, `{"id":1,"subject":"No money","body":"`+strings.Repeat(`The card did not work. \n`, 12)+`"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Render(rec); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleNewTemplate() {
	tmpl, err := NewTemplate(TemplateSource{Body: json.RawMessage(
		`{"model":"claude-haiku-4-5","max_tokens":20,"messages":"{{json .turns}}","system":"Answer {{default \"briefly\" .style}}."}`,
	)})
	if err != nil {
		panic(err)
	}
	body, err := tmpl.Render(&Record{Fields: []Member{
		{Name: "turns", Value: json.RawMessage(`[{"role":"user","content":"Hi"}]`)},
		{Name: "style", Value: json.RawMessage(`null`)},
	}})
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(body)
	// Output: {"model":"claude-haiku-4-5","max_tokens":20,"messages":[{"role":"user","content":"Hi"}],"system":"Answer briefly."}
}
