package jobs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// YAML becomes JSON without losing order, digits or characters.
func TestParseYAML(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, yaml, want string }{
		{"keys keep their order", "z: 1\na: {y: 2, b: 3}\n", `{"z":1,"a":{"y":2,"b":3}}`},
		{"nothing is null", "a:\nb: ~\nc: null\nd: Null\n", `{"a":null,"b":null,"c":null,"d":null}`},
		{"only true and false are booleans", "a: true\nb: FALSE\nc: yes\nd: no\ne: on\nf: tRue\n", `{"a":true,"b":false,"c":"yes","d":"no","e":"on","f":"tRue"}`},
		{"quotes make text", `a: "true"` + "\nb: '5'\nc: 'null'\nd: \"~\"\n", `{"a":"true","b":"5","c":"null","d":"~"}`},
		{"integers are exact", "a: 123456789012345678901234567890\nb: -9223372036854775809\n", `{"a":123456789012345678901234567890,"b":-9223372036854775809}`},
		{"integers in JSON's form", "a: 007\nb: +5\nc: -0\nd: 0\n", `{"a":7,"b":5,"c":-0,"d":0}`},
		{"grouped integers", "a: 2_000_000\nb: -1_000\nc: 1_0\nd: 1__000\ne: 2026_11\n", `{"a":2000000,"b":-1000,"c":"1_0","d":"1__000","e":"2026_11"}`},
		{"other bases", "a: 0x1F\nb: 0o17\nc: 0b11\nd: 0xFFFFFFFFFFFFFFFFFF\n", `{"a":31,"b":15,"c":"0b11","d":4722366482869645213695}`},
		{"floats keep their digits", "a: 1.0\nb: 0.10\nc: 1e3\nd: -1.5E-7\n", `{"a":1.0,"b":0.10,"c":1e3,"d":-1.5E-7}`},
		{"floats in JSON's form", "a: .5\nb: 1.\nc: +01.50\nd: -.5e1\n", `{"a":0.5,"b":1.0,"c":1.50,"d":-0.5e1}`},
		{"dates, times and versions are text", "a: 2026-11-22\nb: 12:30\nc: 1.2.3\nd: 1e\n", `{"a":"2026-11-22","b":"12:30","c":"1.2.3","d":"1e"}`},
		{"a literal block", "a: |\n  {{.x}} \"q\" \\n # no comment\n\n    in\n  <b>\n", `{"a":"{{.x}} \"q\" \\n # no comment\n\n  in\n<b>\n"}`},
		{"a literal block stripped of line breaks alone", "a: |-\n  x  \n\nb: 1\n", `{"a":"x  ","b":1}`},
		{"a literal block kept whole", "a: |+\n  x\n\n\nb: 1\n", `{"a":"x\n\n\n","b":1}`},
		{"a literal block with an indentation of its own", "a: |2\n    x\n  y\n", `{"a":"  x\ny\n"}`},
		{"a folded block", "a: >\n  one\n  two\n\n  three\n   in\nb: >-\n  x\n", `{"a":"one two\nthree\n in\n","b":"x"}`},
		{"an empty block", "a: |\nb: 1\n", `{"a":"","b":1}`},
		{"escapes", `a: "\u00e9\t\x41\"\\\ud83d\ude00"` + "\nb: 'it''s \\n'\n", `{"a":"é\tA\"\\😀","b":"it's \\n"}`},
		{"text over lines", "a: one\n  two\n\n  three\nb: \"x\n  y\"\n", `{"a":"one two\nthree","b":"x y"}`},
		{"comments", "# a\na: x # b\nb: x#y\n# c\n", `{"a":"x","b":"x#y"}`},
		{"lists", "a:\n- 1\n- - 2\n- b: 3\n  c: 4\n-\n", `{"a":[1,[2],{"b":3,"c":4},null]}`},
		{"empty collections", "a: {}\nb: []\nc: ''\n", `{"a":{},"b":[],"c":""}`},
		{"anchors", "a: &x {k: [1]}\nb: *x\nc: [*x]\n", `{"a":{"k":[1]},"b":{"k":[1]},"c":[{"k":[1]}]}`},
		{"merge keys yield to the map's own", "a: &x {k: 1, l: 2}\nb:\n  m: 0\n  <<: *x\n  l: 3\n", `{"a":{"k":1,"l":2},"b":{"m":0,"k":1,"l":3}}`},
		{"of merged maps the first wins", "a: &x {k: 1}\nb: {<<: [*x, {k: 2, n: 3}]}\n", `{"a":{"k":1},"b":{"k":1,"n":3}}`},
		{"keys that look like paths", "a.b: 1\na: {b: 2}\n\"<<\": 3\n1: 4\n", `{"a.b":1,"a":{"b":2},"<<":3,"1":4}`},
		{"!!str", "a: !!str 5\nb: !!str true\nc: [!!str , !!str ~]\n", `{"a":"5","b":"true","c":["","~"]}`},
		{"a byte order mark and CR LF", "\ufeffa: |\r\n  x\r\n  y\r\nb: \"p\r\n  q\"\r\n", `{"a":"x\ny\n","b":"p q"}`},
		{"document markers", "%YAML 1.2\n---\na: 1\n...\n", `{"a":1}`},
		{"characters of any script", "é: \"😀\"\n日本: ü\n", `{"é":"😀","日本":"ü"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var found problems
			root := parseYAML([]byte(tc.yaml), place{file: "f"}, &found)
			if err := found.err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, jsonOf(root)); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
		})
	}
}

// What YAML allows and a job cannot mean is refused at its place.
func TestParseYAMLErrors(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for _, c := range "123456" {
		was := string(c - 1)
		bomb += "a" + string(c) + ": &a" + string(c) + " [" + strings.Repeat("*a"+was+", ", 9) + "*a" + was + "]\n"
	}
	for _, tc := range []struct{ name, yaml, want string }{
		{"not UTF-8", "a: 1\nb: é\xff", "f:2:5: byte 0xff is not UTF-8; save the file as UTF-8"},
		{"control characters", "a: x\x01", `f:1:5: control character U+0001; write it as "\x01" in double quotes`},
		{"numbers without a JSON form", "a: [.inf, -.INF, .nan]", "f:1:5: .inf is a number that JSON cannot hold; put it in quotes if it is text\n" +
			"f:1:11: -.INF is a number that JSON cannot hold; put it in quotes if it is text\n" +
			"f:1:18: .nan is a number that JSON cannot hold; put it in quotes if it is text"},
		{"half a surrogate pair", `a: "\ud800"`, "f:1:5: not valid YAML: not enough length for escaped UTF-16 surrogate pair"},
		{"an alias of nothing", "a: *b", "f:1:4: no anchor &b stands before this alias; put quotes around text that starts with *"},
		{"an alias within its anchor", "a: &a [*a]", "f:1:8: no anchor &a stands before this alias; put quotes around text that starts with *"},
		{"a merge of a scalar", "a: {<<: 1}", "f:1:5: << takes a map or a list of maps, each by its alias: <<: *name"},
		{"a merge of nothing", "a: {<<: *b}", "f:1:9: no anchor &b stands before this alias; put quotes around text that starts with *"},
		{"other tags", "a: !!int '5'\nb: !x {}", "f:1:4: the tag !!int has no meaning in a job file; leave it out\nf:2:4: the tag !x has no meaning in a job file; leave it out"},
		{"keys that are no words", "~: 1", "f:1:1: a key must be a word or a text in quotes"},
		{"aliases of aliases", bomb, "f:6:10: the aliases up to here make over 200000 values"},
		{"brackets without end", "a: " + strings.Repeat("[", 250), "f:1:204: nested too deeply"},
		{"dashes without end", strings.Repeat("- ", 250), "f:1:401: nested too deeply"},
		{"very many values", strings.Repeat("- a\n", 40_000), "f: over 30000 values are too many for a job file; put long texts and lists into files of their own"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var found problems
			parseYAML([]byte(tc.yaml), place{file: "f"}, &found)
			err := found.err()
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// Each JSON pointer leads to the place of its value, block texts to their header.
func TestPlaces(t *testing.T) {
	t.Parallel()
	const src = "request:\n  system: |\n    long\n    text\n  messages:\n    - role: user\n      content:\n        - {type: text, text: hi}\n  a/b~c: é\n"
	var found problems
	root := parseYAML([]byte(src), place{file: "job.yaml"}, &found)
	if len(found) > 0 {
		t.Fatal(found.err())
	}
	_, places := root.get("request").toJSON()
	got := map[string]string{}
	for pointer, at := range places {
		got[pointer] = at.String()
	}
	want := map[string]string{
		"":                           "job.yaml:2:3",
		"/system":                    "job.yaml:2:11",
		"/messages":                  "job.yaml:6:5",
		"/messages/0":                "job.yaml:6:7",
		"/messages/0/role":           "job.yaml:6:13",
		"/messages/0/content":        "job.yaml:8:9",
		"/messages/0/content/0":      "job.yaml:8:11",
		"/messages/0/content/0/type": "job.yaml:8:18",
		"/messages/0/content/0/text": "job.yaml:8:30",
		"/a~1b~0c":                   "job.yaml:9:10",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}
