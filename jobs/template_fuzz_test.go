package jobs

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// Whatever the template and the record, compiling and rendering end without a panic, and a body is JSON.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []struct{ template, record string }{
		{"{{.a}} {{json .b}}", `{"a":"x\n","b":[1,{"c":2}]}`},
		{"{{range $i, $e := .b}}{{if eq $i 1}}{{break}}{{end}}{{$e.c}}{{else}}none{{end}}", `{"b":[{"c":1}]}`},
		{`{{truncate 3 (default "x" .a) | json}}{{with $x := .a}}{{$x}}{{end}}`, `{"a":null}`},
		{`{{index .a "k" 0}}{{len .a}}{{join ", " .a.k}}`, `{"a":{"k":["v"]}}`},
		{`{{if and (lt .a 5) (ge .b "x")}}{{"{{"}}{{end}}`, `{"a":1e400,"b":"\ud800"}`},
		{"{{json .}}", `{"é":"\u0000"}`},
		{`{{"a": 1}}{{{x}}`, `{}`},
	} {
		f.Add(seed.template, seed.record)
	}
	f.Fuzz(func(t *testing.T, text, object string) {
		if !utf8.ValidString(text) || !json.Valid([]byte(object)) || jsonValue([]byte(object)).kind != valueObject {
			t.Skip()
		}
		tmpl, err := NewTemplate(TemplateSource{Body: bodyOf(text), Dir: t.TempDir()})
		if err != nil {
			return
		}
		if err := tmpl.Check(tmpl.Columns()); err != nil {
			t.Fatalf("its own columns are unknown: %v", err)
		}
		body, err := tmpl.Render(recordOf(t, object))
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("body is not JSON: %q", body)
		}
	})
}

// Numbers order as their values do, whatever their spelling.
func FuzzCompareNumbers(f *testing.F) {
	for _, pair := range [][2]string{{"1", "1.0"}, {"-0", "0"}, {"1e3", "999.9"}, {"0.001", "1e-3"}, {"-5", "-50e-1"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var x, y json.Number
		if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil || a != x.String() || b != y.String() {
			t.Skip()
		}
		got := compareNumbers(a, b)
		if got != -compareNumbers(b, a) {
			t.Fatalf("%s and %s: the order depends on the side", a, b)
		}
		p, errP := x.Float64()
		q, errQ := y.Float64()
		if errP != nil || errQ != nil || len(a) > 15 || len(b) > 15 {
			return // a float rounds those
		}
		if p < q && got >= 0 && p != 0 && q != 0 || p > q && got <= 0 && p != 0 && q != 0 {
			t.Fatalf("compareNumbers(%s, %s) = %d", a, b, got)
		}
	})
}
