package jobs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Prompts hold JSON, code and the templates of other languages: what Go's syntax allows goes through untouched.
func TestTemplateLeavesBracesAlone(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"JSON example":              `Answer with {"team": "billing", "tags": ["a"]}`,
		"nested JSON that closes":   `{"a": {"b": {"c": 1}}}`,
		"code":                      "func main() { for { if x { return } } }",
		"format strings":            "f'{name}' ${name} {0} %s {%",
		"Jinja statements":          "{% if x %} {# note #} {% endif %}",
		"closing braces alone":      "end }} of it",
		"LaTeX":                     `\frac{a}{b} \textbf{x}`,
		"a single brace at the end": "open {",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := templateOf(t, text).Render(&Record{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(bodyOf(text)), string(body)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const remedy = `to send the braces as they are, write {{"{{"}} for the first two, or put the text in a file and write {{file "…"}}`

const (
	braces      = "; " + remedy
	bracesAlone = ": " + remedy
)

// What Go's templates refuse, or would take for something else, gets an answer that says where it is and what to do.
func TestTemplateFaults(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, template, want string }{
		{"bare word", "Subject: {{subject}}", "{{subject}}: write {{.subject}} for the column" + braces},
		{"bare word of Vue or Jinja", "Hi\n{{ user.name }}", "line 2 of the text: {{ user.name }}: write {{.user.name}} for the column" + braces},
		{"Jinja filter", "{{ name | upper }}", "{{ name | upper }}: write {{.name}} for the column" + braces},
		{"bare word as argument", "{{truncate 5 body}}", "{{truncate 5 body}}: write .body for the column"},
		{"JSON in double braces", `So: {{"a": 1}} {{.x}}`, `{{"a": 1}}: not a template action (expected :=)` + bracesAlone},
		{"JSON after a closed if", `{{if .x}}y{{end}} {{"a": 1}}`, `{{"a": 1}}: not a template action (expected :=)` + bracesAlone},
		{"initializer in C", "int a[2][2] = {{1, 2}, {3, 4}};", `{{1, 2}, {3, 4}}: not a template action (unexpected "," in operand)` + bracesAlone},
		{"Mustache section", "{{#each items}}x{{/each}}", `{{#each items}}: not a template action (unexpected "#" in command)` + bracesAlone},
		{"Mustache partial", "{{> header}}", `{{> header}}: not a template action (unexpected ">" in command)` + bracesAlone},
		{"triple braces", "{{{name}}}", `{{{name}}: not a template action (unexpected "{" in command)` + bracesAlone},
		{"unclosed action", "a {{.b and more", `{{.b and more: not a template action (unclosed action)` + bracesAlone},
		{"empty action", "{{}}", "{{}}: not a template action (missing value for command)" + bracesAlone},
		{"action over a text with quotes", `{{.a}} {{"x" "}}`, `{{"x" "}}: not a template action (unterminated quoted string)` + bracesAlone},
		{"open if", "a {{if .x}} b", "{{if}}, {{with}} or {{range}} lacks its {{end}}"},
		{"end without if", "{{.a}}{{end}}", "{{end}}: not a template action (unexpected {{end}})" + bracesAlone},
		{"column with a hyphen", "{{.ticket-id}}", `{{.ticket-id}}: not a template action (bad character U+002D '-'): write {{col "…"}} for a column whose name is not one word` + braces},
		{"column with a space", "{{.Ticket ID}}", `{{.Ticket ID}}: .Ticket is not a function: an action names one column, and {{col "…"}} one whose name is not one word`},
		{"two columns in one action", "{{.a .b}}", `{{.a .b}}: .a is not a function: an action names one column, and {{col "…"}} one whose name is not one word`},
		{"column that is a number", "{{.2024}}", `{{.2024}}: this is a number: write {{col "2024"}} for the column`},
		{"unknown function", "{{trunc 5 .a}}", `{{trunc 5 .a}}: there is no function "trunc"; did you mean truncate? {{truncate 500 .column}}`},
		{"function that Go has", `{{printf "%d" .a}}`, `{{printf "%d" .a}}: there is no function "printf": a column is written {{.printf}}, and the functions are and, col, default, eq, file, ge, gt, include, index, join, json, le, len, lt, ne, not, or, truncate` + braces},
		{"unknown variable", "{{$x}}", `{{$x}}: undefined variable "$x": declare it first, as in {{$x := .column}}`},
		{"too few arguments", "{{truncate .a}}", "{{truncate .a}}: truncate is written {{truncate 500 .column}}"},
		{"too many arguments", "{{json .a .b}}", "{{json .a .b}}: json is written {{json .column}}"},
		{"piped argument counts", `{{.a | col "x"}}`, `{{.a | col "x"}}: col is written {{col "Column name"}}`},
		{"pipe into a column", "{{.a | .b}}", "{{.a | .b}}: .b is not a function: nothing can be piped into it"},
		{"pipe into a member", "{{.a | $.b}}", "{{.a | $.b}}: $.b is not a function: nothing can be piped into it"},
		{"file by column", "{{file .path}}", `{{file .path}}: file takes one name in quotes: {{file "path"}}`},
		{"col by column", "{{col .name}}", `{{col .name}}: col takes one name in quotes: {{col "Column name"}}`},
		{"define", `{{define "x"}}y{{end}}`, `define and block are not offered: put the text in a file and write {{include "…"}}`},
		{"template", `{{template "x" .}}`, `{{template "x" .}}: template is not offered: put the text in a file and write {{include "…"}}`},
		{"complex number", "{{1i}}", "{{1i}}: 1i is not a number that JSON has"},
		{"static fault", `{{index "abc" 0}}`, `{{index "abc" 0}}: index takes a list or an object, not text`},
		{"second action of a line", "{{.a}} and {{b}}", "{{b}}: write {{.b}} for the column" + braces},
		{"within if", "{{if .a}}{{b}}{{end}}", "{{b}}: write {{.b}} for the column" + braces},
		{"within else", "{{if .a}}{{else}}{{b}}{{end}}", "{{b}}: write {{.b}} for the column" + braces},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewTemplate(TemplateSource{Body: bodyOf(tt.template), Where: func(pointer string) string {
				if pointer != "/content" {
					t.Errorf("asked for %s", pointer)
				}
				return "job.yaml:3:7"
			}})
			if err == nil {
				t.Fatal("compiled")
			}
			if diff := cmp.Diff("job.yaml:3:7: "+tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRequestFaults(t *testing.T) {
	t.Parallel()
	answer := &Answer{Schema: json.RawMessage(`{}`)}
	tests := []struct {
		name, body, want string
		answer           *Answer
	}{
		{name: "not JSON", body: `{`, want: "request: request must be an object: the body of a call to /v1/messages"},
		{name: "not an object", body: `[]`, want: "request: request must be an object: the body of a call to /v1/messages"},
		{name: "place without a job file", body: `{"messages":[{"content":"{{x}}"}]}`, want: "request.messages.0.content: {{x}}: write {{.x}} for the column" + braces},
		{name: "stream", body: `{"stream":true}`, want: "request.stream: stream does not belong in the request: write api: {stream: true}"},
		{name: "two formats", body: `{"output_config":{"format":{}}}`, answer: answer, want: "request.output_config.format: both answer and request.output_config.format say what the answer looks like: keep one"},
		{name: "strange output_config", body: `{"output_config":"{{json .x}}"}`, answer: answer, want: "request.output_config: output_config must be an object beside an answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewTemplate(TemplateSource{Body: json.RawMessage(tt.body), Answer: tt.answer})
			if err == nil {
				t.Fatal("compiled")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTemplateFilesAtFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.tmpl": "{{include \"b.tmpl\"}}", "b.tmpl": "{{include \"a.tmpl\"}}", "bad.tmpl": "one\nä {{word}}",
		"latin1.txt": "caf\xe9", "cut.tmpl": "x\n  {{if .a}}", "unknown.tmpl": "\n\n {{.nope}}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ name, template, want string }{
		{"missing file", `{{file "none.md"}}`, `request.content: {{file "none.md"}}: read file: open DIR/none.md: no such file or directory`},
		{"missing include", `{{include "none.md"}}`, `request.content: {{include "none.md"}}: read file: open DIR/none.md: no such file or directory`},
		{"not UTF-8", `{{file "latin1.txt"}}`, `request.content: {{file "latin1.txt"}}: read file DIR/latin1.txt: it is not UTF-8: save it as UTF-8`},
		{"circle", `{{include "a.tmpl"}}`, `b.tmpl:1:1: {{include "a.tmpl"}}: this file includes itself: a.tmpl → b.tmpl → a.tmpl`},
		{"fault in an included file", `{{include "bad.tmpl"}}`, "bad.tmpl:2:3: {{word}}: write {{.word}} for the column" + braces},
		{"syntax of an included file", `{{include "cut.tmpl"}}`, "cut.tmpl:2:3: {{if}}, {{with}} or {{range}} lacks its {{end}}"},
		{"fault after an included file", "{{include \"unknown.tmpl\"}}\n{{b}}", "request.content: line 2 of the text: {{b}}: write {{.b}} for the column" + braces},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewTemplate(TemplateSource{Body: bodyOf(tt.template), Dir: dir})
			if err == nil {
				t.Fatal("compiled")
			}
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("unknown column of an included file", func(t *testing.T) {
		t.Parallel()
		tmpl, err := NewTemplate(TemplateSource{Body: bodyOf(`{{include "unknown.tmpl"}}`), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		const want = `unknown.tmpl:3:2: {{.nope}}: no column "nope"; the input has id`
		if err := tmpl.Check([]string{"id"}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestTemplateChecksColumns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, template string
		columns        []string
		want           string
	}{
		{"all there", "{{.a}} {{col \"b c\"}}", []string{"a", "b c"}, ""},
		{"near one", "{{.subjct}}", []string{"id", "subject"}, `{{.subjct}}: no column "subjct"; did you mean {{.subject}}? the input has id, subject`},
		{"near one that is not one word", "{{.ticket}}", []string{"Ticket ID"}, `{{.ticket}}: no column "ticket"; did you mean {{col "Ticket ID"}}? the input has Ticket ID`},
		{"dot in the name", "{{.a.b}}", []string{"a.b"}, `{{.a.b}}: no column "a"; did you mean {{col "a.b"}}? the input has a.b`},
		{"no columns", "{{.a}}", nil, `{{.a}}: no column "a"; the input has no columns`},
		{"member of an element is no column", "{{range .a}}{{.x}}{{end}}", []string{"a"}, ""},
		{"column that if only asks for", "{{if .urgent}}x{{end}}", []string{"b"}, `{{if .urgent}}: no column "urgent"; the input has b`},
		{"many columns", "{{.zzzzzz}}", strings.Split(strings.Repeat("c,", 31)+"c", ","), `{{.zzzzzz}}: no column "zzzzzz"; the input has ` + strings.Repeat("c, ", 29) + "c and 2 more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := templateOf(t, tt.template).Check(tt.columns); err != nil {
				got = strings.TrimPrefix(err.Error(), "request.content: ")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
