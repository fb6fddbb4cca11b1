package jsonl

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
)

func TestParseObject(t *testing.T) {
	t.Parallel()
	member := func(name, value string) jobs.Member {
		return jobs.Member{Name: name, Value: json.RawMessage(value)}
	}
	for _, test := range []struct {
		name string
		line string
		want []jobs.Member
	}{
		{"empty object", `{}`, []jobs.Member{}},
		{"values keep their text", `{"i":10000000000000000000001,"f":1.50e+07,"s":"\u00e9\/","n":null,"b":true}`, []jobs.Member{
			member("i", "10000000000000000000001"), member("f", "1.50e+07"), member("s", `"\u00e9\/"`),
			member("n", "null"), member("b", "true"),
		}},
		{"nested values keep their white space", `{ "a" : [ 1 , {"b": 2} ] , "c":{} }`, []jobs.Member{
			member("a", `[ 1 , {"b": 2} ]`), member("c", "{}"),
		}},
		{"escaped names are unescaped", `{"\u0061b":1,"":2}`, []jobs.Member{member("ab", "1"), member("", "2")}},
		{"space around the object", " \t{\"a\":1} \r\n", []jobs.Member{member("a", "1")}},
		{"surrogate pair", `{"a":"\ud83d\ude00"}`, []jobs.Member{member("a", `"\ud83d\ude00"`)}},
		{"escaped NUL is a character", `{"a":"\u0000"}`, []jobs.Member{member("a", `"\u0000"`)}},
		{"same name at different depths", `{"a":{"a":1}}`, []jobs.Member{member("a", `{"a":1}`)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseObject([]byte(test.line))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

// Each flaw is named with the byte it starts at, and no text of the line is in the error.
func TestParseObjectRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		line string
		want string
	}{
		{"invalid UTF-8 in a value", "{\"secret\":\"x\xff\"}", "invalid UTF-8 at byte 13"},
		{"invalid UTF-8 in a name", "{\"secret\xff\":1}", "invalid UTF-8 at byte 9"},
		{"cut UTF-8", "{\"secret\":\"\xe2\x82\"}", "invalid UTF-8 at byte 12"},
		{"lone surrogate", `{"secret":"\ud800"}`, "lone surrogate at byte 12"},
		{"lone low surrogate", `{"secret":"a\uDC00"}`, "lone surrogate at byte 13"},
		{"surrogate before another escape", `{"secret":"\ud800\u0041"}`, "lone surrogate at byte 12"},
		{"nested lone surrogate", `{"secret":[{"a":"\ud800"}]}`, "lone surrogate at byte 18"},
		{"bad escape", `{"secret":"\q"}`, "invalid escape sequence at byte 12"},
		{"cut escape that begins like a surrogate", `{"secret":"\ud7"}`, "invalid escape sequence at byte 12"},
		{"cut escape", `{"secret":"\u12"}`, "invalid escape sequence at byte 12"},
		{"NUL in a string", "{\"secret\":\"\x00\"}", "NUL at byte 12"},
		{"NUL alone", "\x00", "NUL at byte 1"},
		{"control character", "{\"secret\":\"\x07\"}", "unescaped control character at byte 12"},
		{"duplicate name", `{"secret":1,"secret":2}`, "duplicate name at byte 13"},
		{"duplicate name in other spelling", `{"secret":1,"\u0073ecret":2}`, "duplicate name at byte 13"},
		{"nested duplicate name", `{"a":{"secret":1,"secret":2}}`, "duplicate name at byte 18"},
		{"trailing text", `{"a":1} secret`, "more text after the JSON object at byte 9"},
		{"second object", `{"a":1}{"a":2}`, "more text after the JSON object at byte 8"},
		{"trailing NUL", "{\"a\":1}\x00", "more text after the JSON object at byte 8"},
		{"cut after a value", `{"a":"secret"`, "cut off: the line ends before the JSON does"},
		{"cut in a string", `{"a":"secr`, "cut off: the line ends before the JSON does"},
		{"cut in a nested value", `{"a":["secret"`, "cut off: the line ends before the JSON does"},
		{"list", `["secret"]`, "not a JSON object but a list"},
		{"string", `"secret"`, "not a JSON object but a string"},
		{"number", `12`, "not a JSON object but a number"},
		{"boolean", `true`, "not a JSON object but a boolean"},
		{"null", `null`, "not a JSON object but null"},
		{"nothing", ``, "not a JSON object but nothing"},
		{"text", `secret`, "invalid JSON at byte 1"},
		{"bare name", `{secret:1}`, "invalid JSON at byte 2"},
		{"number as name", `{1:"secret"}`, "a name that is not a JSON string at byte 2"},
		{"single quotes", `{'secret':1}`, "invalid JSON at byte 2"},
		{"comma at the end", `{"secret":1,}`, "invalid JSON at byte 12"},
		{"no comma", `{"secret":1 "b":2}`, "invalid JSON at byte 13"},
		{"no colon", `{"secret" 1}`, "invalid JSON at byte 11"},
		{"leading zero", `{"a":01}`, "invalid JSON at byte 7"},
		{"NaN", `{"a":NaN}`, "invalid JSON at byte 6"},
		{"comment", `{"a":1/*secret*/}`, "invalid JSON at byte 7"},
		{"byte order mark", "\ufeff{\"a\":1}", "invalid JSON at byte 1"},
		{"nested too deep", strings.Repeat(`{"a":`, 10002), "invalid JSON at byte 50001"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseObject([]byte(test.line))
			if err == nil || err.Error() != test.want {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the line: %v", err)
			}
		})
	}
}

// A member's value must not be overwritten when the caller appends to the one before it.
func TestParseObjectValuesDoNotOverlap(t *testing.T) {
	t.Parallel()
	members, err := ParseObject([]byte(`{"a":1,"b":2}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(append(members[0].Value, "9999999"...)); got != "19999999" {
		t.Fatalf("append made %s", got)
	}
	if got := string(members[1].Value); got != "2" {
		t.Errorf("value of b is %s after an append to a's, want 2", got)
	}
}

func TestAppendObject(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		fields []jobs.Member
		want   string
	}{
		{"no fields", nil, `{}`},
		{"order and text are kept", []jobs.Member{{Name: "b", Value: json.RawMessage("1.0")}, {Name: "a", Value: json.RawMessage(`"\u00e9"`)}}, `{"b":1.0,"a":"\u00e9"}`},
		{"names are quoted", []jobs.Member{{Name: "a\"\n<é", Value: json.RawMessage("1")}}, `{"a\"\n<é":1}`},
		{"line breaks in a value become spaces", []jobs.Member{{Name: "a", Value: json.RawMessage("[\r\n1,\n2]")}}, `{"a":[  1, 2]}`},
		{"nil value is null", []jobs.Member{{Name: "a"}}, `{"a":null}`},
		{"name that is not UTF-8 is mended", []jobs.Member{{Name: "a\xff", Value: json.RawMessage("1")}}, "{\"a\ufffd\":1}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := string(AppendObject([]byte("> "), test.fields))
			if got != "> "+test.want {
				t.Errorf("got %q, want %q after what was there", got, test.want)
			}
		})
	}
}

func ExampleParseObject() {
	members, err := ParseObject([]byte(`{"id": "r-1", "stars": 4.50}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, member := range members {
		fmt.Printf("%s is %s\n", member.Name, member.Value)
	}
	fmt.Printf("%s\n", AppendObject(nil, members))
	// Output:
	// id is "r-1"
	// stars is 4.50
	// {"id":"r-1","stars":4.50}
}
