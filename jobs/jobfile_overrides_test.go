package jobs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, yaml string
		set        []string
		want       string
	}{
		{"a key that is there", "limits: {concurrency: 1}", []string{"limits.concurrency=8"}, `{"limits":{"concurrency":8}}`},
		{"a key that is not", "{}", []string{"limits.headroom=20%"}, `{"limits":{"headroom":"20%"}}`},
		{"below nothing", "limits:\n", []string{"limits.concurrency=8"}, `{"limits":{"concurrency":8}}`},
		{"the later wins", "{}", []string{"id=a", "id=b"}, `{"id":"b"}`},
		{"a list's element", "input: [a, b]", []string{"input.1=c"}, `{"input":["a","c"]}`},
		{"one more element", "input: [a]", []string{"input.1=b"}, `{"input":["a","b"]}`},
		{"the first element", "{}", []string{"api.beta.0=b"}, `{"api":{"beta":["b"]}}`},
		{"deep in a request", "request: {messages: [{content: a}]}", []string{"request.messages.0.content=b"}, `{"request":{"messages":[{"content":"b"}]}}`},
		{"a new column", "{}", []string{"columns.add.raw=.text"}, `{"columns":{"add":{"raw":".text"}}}`},
		{"an answer", "{}", []string{"answer.urgent=boolean"}, `{"answer":{"urgent":"boolean"}}`},
		{"a whole section", "limits: {concurrency: 1}", []string{"limits={headroom: 5%}"}, `{"limits":{"headroom":"5%"}}`},
		{"a list", "{}", []string{"input=[a, 'b c']"}, `{"input":["a","b c"]}`},
		{"null takes a key's value", "id: a", []string{"id=", "name=~"}, `{"id":null,"name":null}`},
		{"scalars have their YAML kinds", "{}", []string{"request.a=1.50", "request.b=true", "request.c=\"5\"", "request.d=yes"}, `{"request":{"a":1.50,"b":true,"c":"5","d":"yes"}}`},
		{"a text is not a map", "{}", []string{"request.system=Be brief: yes # or no"}, `{"request":{"system":"Be brief: yes # or no"}}`},
		{"a template is not a map", "{}", []string{"request.system={{.a}} b"}, `{"request":{"system":"{{.a}} b"}}`},
		{"= in a value, and ${", "{}", []string{"request.system=a=${b}"}, `{"request":{"system":"a=${b}"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var found problems
			root := parseYAML([]byte(tc.yaml), place{file: "f"}, &found)
			applyOverrides(root, Options{Set: tc.set}, &found)
			if err := found.err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, jsonOf(root)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetErrors(t *testing.T) {
	t.Parallel()
	const src = testJob + "id: a\nlimits: {concurrency: 4}\n"
	for _, tc := range []struct{ set, want string }{
		{"limits.concurency=1", `--set limits.concurency: unknown key "concurency"; did you mean concurrency?`},
		{"limit.concurrency=1", `--set limit.concurrency: unknown key "limit"; did you mean limits?`},
		{"concurrency=1", `--set concurrency: unknown key "concurrency"; did you mean limits.concurrency?`},
		{"temperature=1", `--set temperature: unknown key "temperature"; did you mean request.temperature?`},
		{"vars.date=1", "--set vars.date: a var is given by --var date=VALUE"},
		{"limits.concurrency", "--set limits.concurrency: write --set KEY=VALUE, such as --set limits.concurrency=8"},
		{"=1", "--set : write --set KEY=VALUE, such as --set limits.concurrency=8"},
		{"limits..x=1", "--set limits..x: a key between the dots is empty"},
		{"limits.concurrency.x=1", "--set limits.concurrency.x: limits.concurrency has no keys of its own"},
		{"id.x=1", "--set id.x: id has no keys of its own"},
		{"columns.add.a.b=1", "--set columns.add.a.b: columns.add.a has no keys of its own"},
		{"input.0=b", `--set input.0: input is the text "in.jsonl", with nothing below it`},
		{"request.messages.2=b", "--set request.messages.2: request.messages is a list: the number may be 0 to 1, not 2"},
		{"request.messages.-1=b", "--set request.messages.-1: request.messages is a list: the number may be 0 to 1, not -1"},
		{"request.messages.last=b", `--set request.messages.last: request.messages is a list: write a number from 0 to 1 in place of "last"`},
		{"request.model.x=b", `--set request.model.x: request.model is the text "m", with nothing below it`},
		{"limits={concurrency: 0}", "--set limits: limits.concurrency must be at least 1, not 0"},
		{"limits={x: 1}", `--set limits: unknown key "x"; limits has concurrency, requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, headroom, weight, budget_usd, max_failed, max_time`},
		{"limits={concurrency: 1", "--set limits: not valid YAML: could not find flow mapping end token '}'"},
		{"output=", "job.yaml: output is missing; add output: FILE, such as out/answers.jsonl"},
		{"api.key=sk-secret", `--set api.key: unknown key "key"; a credential never stands in a job: name the variable that holds it in api.key_env`},
	} {
		t.Run(tc.set, func(t *testing.T) {
			t.Parallel()
			_, err := parseJob("job.yaml", []byte(src), Options{Set: []string{tc.set}})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// Without a file the errors name flags.
func TestNewErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		options Options
		want    string
	}{
		{"nothing", Options{}, "no input was given; name a file or a folder\nno output was given; add -o FILE, such as -o out.jsonl"},
		{"no model", Options{Input: []string{"a"}, Output: "b/", Prompt: "p"}, "the request has no model; add --model NAME"},
		{"no prompt", Options{Input: []string{"a"}, Output: "b/", Model: "m"}, "the request has no messages; add --prompt TEXT"},
		{
			"no max_tokens beside --set",
			Options{Input: []string{"a"}, Output: "b/", Set: []string{"request.model=m", "request.messages=[{role: user, content: a}]"}},
			"the request has no max_tokens; add --max-tokens 4096",
		},
		{"a negative max_tokens", Options{Input: []string{"a"}, Output: "b/", Model: "m", Prompt: "p", MaxTokens: -1}, "--max-tokens: request.max_tokens must be at least 0, not -1"},
		{"an output that names no job", Options{Input: []string{"a"}, Output: "my out.jsonl"}, `name "my out" names the state folder: it must have only letters, digits, . _ and -, start with a letter or digit and be at most 100 long; add --set name=NAME`},
		{"a folder that names no job", Options{Input: []string{"a"}, Output: "../"}, `name ".." names the state folder: it must have only letters, digits, . _ and -, start with a letter or digit and be at most 100 long; add --set name=NAME`},
		{"vars", Options{Input: []string{"a"}, Output: "b/", Vars: map[string]string{"a": "1"}}, "--var a: the job has no var \"a\"; its vars section names none"},
		{"a path that is none", Options{Input: []string{""}, Output: "b/"}, "input: input has an empty path; name a file, a glob or a folder"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tc.options)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
