package jobs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A whole job, to which a case adds what is wrong; the addition starts on line 7.
const testJob = "input: in.jsonl\noutput: out.jsonl" + testRequest

// Each thing that is wrong has one line: its place, what it is, and what is right.
func TestLoadErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range jobErrors {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseJob("job.yaml", []byte(tc.file), tc.options)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(strings.Split(tc.want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

var jobErrors = []struct {
	name, file string
	options    Options
	want       string
}{
	{name: "empty file", want: "job.yaml: there is nothing in it"},
	{name: "only comments", file: "# later\n", want: "job.yaml: there is nothing in it"},
	{name: "a list", file: "- a\n", want: "job.yaml: a job file is a map of keys: input, output, request, …"},
	{
		name: "nothing that a job needs", file: "id: a\n",
		want: "job.yaml: input is missing; add input: PATH, a list of paths, or a folder\n" +
			"job.yaml: output is missing; add output: FILE, such as out/answers.jsonl",
	},
	{
		name: "a request without what it needs", file: "input: a\noutput: b/\nrequest:\n  max_token: 5\n",
		want: "job.yaml:3:1: request has no model; add model: NAME\n" +
			"job.yaml:3:1: request has no max_tokens (max_token at job.yaml:4:3 may be meant); add max_tokens: 4096, the most an answer may have\n" +
			`job.yaml:3:1: request has no messages; add messages: [{role: user, content: "…"}]`,
	},
	{
		name: "a request of wrong values",
		file: "input: a\noutput: b/\nrequest: {model: 5, max_tokens: -1, messages: hi}\n",
		want: `job.yaml:3:18: request.model must be a text; put it in quotes: "5"` + "\n" +
			"job.yaml:3:33: request.max_tokens must be at least 0, not -1\n" +
			`job.yaml:3:47: request.messages must be a list of {role, content}, not the text "hi"`,
	},
	{
		name: "empty values in a request", file: "input: a\noutput: b/\nrequest: {model: '', max_tokens: many, messages: []}\n",
		want: "job.yaml:3:18: request.model is empty; name a model\n" +
			`job.yaml:3:34: request.max_tokens must be a whole number such as 200 or 2_000_000, not the text "many"` + "\n" +
			"job.yaml:3:50: request.messages is empty; add {role: user, content: …}",
	},
	{
		name: "a request that is no map", file: "input: a\noutput: b/\nrequest: hi\n",
		want: `job.yaml:3:10: request must be a map of keys (model, max_tokens, messages, …), not the text "hi"`,
	},
	{
		name: "an answer without a request", file: "input: a\noutput: b/\nanswer: {a: string}\n",
		want: "job.yaml:3:9: answer needs a request that it belongs to; add request",
	},
	{
		name: "unknown keys",
		file: testJob + "limits:\n  requests_per_min: 4\n  Headroom: 1%\n  x: 1\nconcurrency: 2\nmodel: m\nanswers: {}\nfoo: 1\n" +
			"columns: {kep: []}\napi: {base-url: a, api_key: sk}\nretry: {attempts: 3}\n",
		want: `job.yaml:8:3: unknown key "requests_per_min"; did you mean requests_per_minute?` + "\n" +
			`job.yaml:9:3: unknown key "Headroom"; did you mean headroom?` + "\n" +
			`job.yaml:10:3: unknown key "x"; limits has concurrency, requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, headroom, weight, budget_usd, max_failed, max_time` + "\n" +
			`job.yaml:11:1: unknown key "concurrency"; did you mean limits.concurrency?` + "\n" +
			`job.yaml:12:1: unknown key "model"; did you mean request.model?` + "\n" +
			`job.yaml:13:1: unknown key "answers"; did you mean answer?` + "\n" +
			`job.yaml:14:1: unknown key "foo"; a job has name, vars, input, output, id, request, answer, columns, limits, retry, api, state` + "\n" +
			`job.yaml:15:11: unknown key "kep"; did you mean keep?` + "\n" +
			`job.yaml:16:7: unknown key "base-url"; did you mean base_url?` + "\n" +
			`job.yaml:16:20: unknown key "api_key"; a credential never stands in a job: name the variable that holds it in api.key_env` + "\n" +
			`job.yaml:17:9: unknown key "attempts"; retry has max_attempts`,
	},
	{
		name: "sections that are no maps", file: testJob + "limits: 5\nretry: [1]\napi: fast\ncolumns: a\nvars: [a]\n",
		want: "job.yaml:7:9: limits must be a map of keys (concurrency, requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, headroom, weight, budget_usd, max_failed, max_time), not 5\n" +
			"job.yaml:8:8: retry must be a map of keys (max_attempts), not a list\n" +
			`job.yaml:9:6: api must be a map of keys (base_url, key_env, version, beta, stream, timeout), not the text "fast"` + "\n" +
			`job.yaml:10:10: columns must be a map of keys (keep, add, prefix), not the text "a"` + "\n" +
			"job.yaml:11:7: vars must be a map of names to values, with ~ for those that --var must give, not a list",
	},
	{
		name: "a state that is no store", file: testJob + "state: out/state\n",
		want: "job.yaml:7:8: state must be the URL of a store, such as file:///mnt/shared/state; a folder of this machine is named by --state",
	},
	{
		name: "a state with a password", file: testJob + "state: s3://me:secret@bucket/x\n",
		want: "job.yaml:7:8: state must hold no user or password",
	},
	{
		name: "impossible limits",
		file: testJob + "limits:\n  concurrency: 0\n  requests_per_minute: -1\n  input_tokens_per_minute: 1.5\n  output_tokens_per_minute: 99999999999999999999\n" +
			"  headroom: 100%\n  budget_usd: 0\n  max_failed: 101%\n  max_time: -5h\n",
		want: "job.yaml:8:16: limits.concurrency must be at least 1, not 0\n" +
			"job.yaml:9:24: limits.requests_per_minute must be at least 1, not -1\n" +
			"job.yaml:10:28: limits.input_tokens_per_minute must be a whole number such as 200 or 2_000_000, not 1.5\n" +
			"job.yaml:11:29: limits.output_tokens_per_minute must be at most 9223372036854775807, not 99999999999999999999\n" +
			"job.yaml:12:13: limits.headroom must be under 100%, or no call could start; it is 100%\n" +
			"job.yaml:13:15: limits.budget_usd must be more than 0; leave it out for no bound\n" +
			"job.yaml:14:15: limits.max_failed must be at most 100%; it is 101%\n" +
			"job.yaml:15:13: limits.max_time must be more than 0, not -5h",
	},
	{
		name: "values of the wrong kind",
		file: testJob + "limits:\n  concurrency: many\n  headroom: 0.2\n  budget_usd: $5\n  max_failed: 0.5\n  max_time: 90\nretry: {max_attempts: 0}\nid: 7\n",
		want: `job.yaml:8:16: limits.concurrency must be a whole number such as 200 or 2_000_000, not the text "many"` + "\n" +
			"job.yaml:9:13: limits.headroom must be a share of the limits such as 20%, not 0.2\n" +
			`job.yaml:10:15: limits.budget_usd must be dollars such as 25 or 0.50, not the text "$5"` + "\n" +
			"job.yaml:11:15: limits.max_failed must be a number of records such as 10, or a share of them such as 0.1%, not 0.5\n" +
			"job.yaml:12:13: limits.max_time must be a time such as 90s, 10m or 1h30m, not 90\n" +
			"job.yaml:13:23: retry.max_attempts must be at least 1, not 0\n" +
			`job.yaml:14:5: id must be a text; put it in quotes: "7"`,
	},
	{
		name: "a weight of nothing", file: testJob + "limits: {weight: 0}\n",
		want: "job.yaml:7:18: limits.weight must be from 0.001 to 1000; other runs have 1 unless they say otherwise; it is 0",
	},
	{
		name: "a weight below nothing", file: testJob + "limits: {weight: -1}\n",
		want: "job.yaml:7:18: limits.weight must be from 0.001 to 1000; other runs have 1 unless they say otherwise; it is -1",
	},
	{
		name: "a weight that is no number", file: testJob + "limits: {weight: 20%}\n",
		want: `job.yaml:7:18: limits.weight must be a number such as 2 or 0.5, not the text "20%"`,
	},
	{
		name: "more impossible limits",
		file: testJob + "limits: {concurrency: 100_001, headroom: -1%, budget_usd: 0.0000000001, max_failed: -1, max_time: 1d}\nretry: {max_attempts: 1001}\n",
		want: "job.yaml:7:23: limits.concurrency must be at most 100000, not 100_001\n" +
			`job.yaml:7:42: limits.headroom must be a share of the limits such as 20%, not the text "-1%"` + "\n" +
			"job.yaml:7:59: limits.budget_usd has more than 9 digits after the point: 0.0000000001\n" +
			"job.yaml:7:85: limits.max_failed must be at least 0, not -1\n" +
			`job.yaml:7:99: limits.max_time must be a time such as 90s, 10m or 1h30m, not the text "1d"` + "\n" +
			"job.yaml:8:23: retry.max_attempts must be at most 1000, not 1001",
	},
	{
		name: "budgets below zero and above what sums can hold", file: testJob + "limits: {budget_usd: -2.5}\n",
		options: Options{Set: []string{"limits.budget_usd=9223372037"}},
		want:    "--set limits.budget_usd: limits.budget_usd must be at most 9223372036, not 9223372037",
	},
	{
		name: "a negative budget", file: testJob + "limits: {budget_usd: -2.5}\n",
		want: "job.yaml:7:22: limits.budget_usd must be more than 0, not -2.5",
	},
	{
		name: "input", file: "input: ['', 3, ~, 'ftp://x/y']\noutput: a.jsonl\n",
		want: "job.yaml:1:9: input has an empty path; name a file, a glob or a folder\n" +
			`job.yaml:1:13: input must be a text; put it in quotes: "3"` + "\n" +
			"job.yaml:1:16: input has an empty element\n" +
			`job.yaml:1:19: input "ftp://x/y": a URL must start with s3://, gs:// or azblob://; a local path has no scheme`,
	},
	{
		name: "no path in input, a wrong ending in output", file: "input: []\noutput: out.csv\n",
		want: "job.yaml:1:8: input has no path; name a file, a glob or a folder\n" +
			`job.yaml:2:9: output "out.csv" must end in .jsonl, .jsonl.gz, .jsonl.zst, .parquet, or in / for a folder`,
	},
	{
		name: "an empty output", file: "input: a\noutput: ''\n",
		want: "job.yaml:2:9: output is empty; name a file such as out/answers.jsonl",
	},
	{
		name: "a name that is no folder's", file: "name: a/b\n" + testJob,
		want: `job.yaml:1:7: name "a/b" names the state folder: it must have only letters, digits, . _ and -, start with a letter or digit and be at most 100 long`,
	},
	{
		name: "the name of a rehearsal", file: "name: a.simulated\n" + testJob,
		want: `job.yaml:1:7: name "a.simulated" must not end in .simulated, which marks rehearsals`,
	},
	{
		name: "a name of the wrong kind", file: "name: [a]\n" + testJob,
		want: "job.yaml:1:7: name must be a text, not a list",
	},
	{
		name: "columns", file: testJob + "columns: {keep: [a, b, a], add: {x: text, y: 5, z: ., '': .id}, prefix: 1}\n",
		want: `job.yaml:7:24: columns.keep names "a" twice` + "\n" +
			"job.yaml:7:37: columns.add.x must be a path into the message that starts with a dot, such as .text or .usage.input_tokens\n" +
			`job.yaml:7:46: columns.add.y must be a text; put it in quotes: "5"` + "\n" +
			"job.yaml:7:52: columns.add.z must be a path into the message that starts with a dot, such as .text or .usage.input_tokens\n" +
			"job.yaml:7:55: columns.add: a column needs a name\n" +
			`job.yaml:7:73: columns.prefix must be a text; put it in quotes: "1"`,
	},
	{
		name: "a long value is cut", file: testJob + "limits: {max_time: " + strings.Repeat("é", 100) + "}\n",
		want: `job.yaml:7:20: limits.max_time must be a time such as 90s, 10m or 1h30m, not the text "` + strings.Repeat("é", 60) + `…"`,
	},
	{
		name: "columns to add as a list", file: testJob + "columns: {add: [.text]}\n",
		want: "job.yaml:7:16: columns.add must be a map of new columns to paths, such as {stop: .stop_reason}, not a list",
	},
	{
		name: "an API address without a scheme", file: testJob + "api: {base_url: api.example.com, stream: 'yes', timeout: 0s, version: v1, beta: ['a b']}\n",
		want: "job.yaml:7:17: api.base_url must be an address such as https://api.anthropic.com\n" +
			`job.yaml:7:42: api.stream must be true or false, not the text "yes"` + "\n" +
			"job.yaml:7:58: api.timeout must be more than 0, not 0s\n" +
			`job.yaml:7:71: api.version "v1" is no version of the API; write a date such as 2023-06-01` + "\n" +
			`job.yaml:7:82: api.beta "a b" is no name of a beta; write a list of names with letters, digits, . _ and -`,
	},
	{
		name: "credentials, which no error repeats", file: testJob + "api: {base_url: 'https://me:sk-secret@example.com', key_env: sk-ant-secret}\n",
		want: "job.yaml:7:17: api.base_url must hold no user or password; name the variable of the credential in api.key_env\n" +
			"job.yaml:7:62: api.key_env must be the name of an environment variable, such as ANTHROPIC_API_KEY, never the credential itself",
	},
	{
		name: "an API address with more than a path", file: testJob + "api: {base_url: 'https://example.com/v1?key=1'}\n",
		want: "job.yaml:7:17: api.base_url must end with its path: no ? and no #",
	},
	{
		name: "keys twice", file: testJob + "limits: {headroom: 1%, headroom: 2%}\ninput: b\n",
		want: `job.yaml:7:24: key "headroom" stands here twice; the first is at job.yaml:7:10` + "\n" +
			`job.yaml:8:1: key "input" stands here twice; the first is at job.yaml:1:1`,
	},
	{
		name: "bad YAML", file: testJob + "limits: [1\n",
		want: "job.yaml:7:9: not valid YAML: sequence end token ']' not found",
	},
	{
		name: "a template without quotes", file: "request:\n  system: {{file \"a\"}}\n",
		want: "job.yaml:2:12: not valid YAML: could not find flow map content; put quotes around a value that starts with {{, and around ${…} inside [ ] or { }",
	},
	{
		name: "two documents", file: testJob + "---\n" + testJob,
		want: "job.yaml:7:1: a second YAML document starts here; a job file is one document",
	},
	{
		name: "a bad answer", file: testJob + "answer:\n  team: []\n",
		want: "job.yaml:8:3: answer.team: the list of choices is empty",
	},
	{
		name: "a bad template, at its place in the file",
		file: "input: a\noutput: b/\nrequest:\n  model: m\n  max_tokens: 5\n  messages:\n    - {role: user, content: '{{.x'}\nretry: {max_attempts: 0}\n",
		want: `job.yaml:7:29: {{.x: not a template action (unclosed action): to send the braces as they are, write {{"{{"}} for the first two, or put the text in a file and write {{file "…"}}` + "\n" +
			"job.yaml:8:23: retry.max_attempts must be at least 1, not 0",
	},
}
