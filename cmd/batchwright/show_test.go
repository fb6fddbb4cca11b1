package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// commandLine runs batchwright in a folder of its own, always against the simulator.
type commandLine struct {
	t   *testing.T
	dir string
}

func newCommandLine(t *testing.T) commandLine {
	t.Helper()
	c := commandLine{t, t.TempDir()}
	for name, content := range map[string]string{
		"job.yaml": `name: tickets
input: in.jsonl
output: out.jsonl
request:
  model: claude-haiku-4-5
  max_tokens: 50
  messages: [{role: user, content: "Sort {{.text}}"}]
answer: {team: [billing, tech], urgent: boolean}
`,
		"in.jsonl": `{"id":"a","text":"one"}` + "\n" + `{"id":"b","text":"two"}` + "\n{broken\n" + `{"id":"d","text":"four"}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// run returns what a command writes and its exit code; {} in an argument stands for the folder.
func (c commandLine) run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{}", c.dir)
	}
	root := newRootCommand()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	if !slices.Contains(args, "--simulate=false") {
		args = append(args, "--simulate")
	}
	root.SetArgs(args)
	err := root.ExecuteContext(c.t.Context())
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		code = exit.code
	case err != nil:
		code = exitCodeOf(err)
	}
	if err != nil {
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String(), code
}

func (c commandLine) must(code int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	stdout, stderr, got := c.run(args...)
	if got != code {
		c.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	return stdout, stderr
}

func holds(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

// A job is planned, tried, run, shown, exported and deleted, found by its file and by its name.
func TestCommandsOfAJob(t *testing.T) { //nolint:paralleltest // try sets the default logger
	c := newCommandLine(t)
	const job = "{}/job.yaml"
	plan, _ := c.must(exitComplete, "plan", job)
	holds(t, plan, `"content": "Sort one"`, "in.jsonl:3", "records  4", "out.simulated.jsonl", "team, urgent, response")
	plan, _ = c.must(exitComplete, "plan", job, "--json")
	if p := gjson.Parse(plan); p.Get("records").Int() != 4 || p.Get("broken").Int() != 1 || p.Get("requests.0.request.max_tokens").Int() != 50 ||
		p.Get("forecast.cost_usd").Float() <= 0 {
		t.Errorf("plan --json: %s", plan)
	}

	tried, _ := c.must(exitComplete, "try", job, "-n", "4")
	holds(t, tried, "prompt   Sort one", "team: ", "urgent: ", "bad_input", "tried 4 of 4 records", "projected", "simulated")
	tried, end := c.must(exitComplete, "try", job, "-n", "4", "--json", "--set", "request.max_tokens=60")
	holds(t, end, "answers changed")
	if n := strings.Count(tried, "\n"); n != 4 {
		t.Errorf("try --json: %d lines", n)
	}
	for line := range strings.Lines(tried) {
		if l := gjson.Parse(line); l.Get("record").Int() != 2 && (l.Get("answer.team").Str == "" || !l.Get("changed").Exists()) {
			t.Errorf("try --json: %s", line)
		}
	}

	c.must(exitUsage, "show", job)
	c.must(exitManyFailures, "run", job, "--quiet")
	for _, args := range [][]string{{"show", job}, {"show", "tickets", "--state", "{}/.batchwright"}} {
		overview, _ := c.must(exitComplete, args...)
		holds(t, overview, "tickets: complete", "4 done of 4", "bad_input 1", "out.simulated.jsonl")
	}
	shown, _ := c.must(exitComplete, "show", "tickets", "--state", "{}/.batchwright", "--id", "b")
	holds(t, shown, "record 1", `"content": "Sort two"`, `"stop_reason": "end_turn"`, "1 attempt, 1 call, ")
	shown, _ = c.must(exitComplete, "show", job, "--failed", "--json")
	if l := gjson.Parse(shown); strings.Count(shown, "\n") != 1 || l.Get("reason").Str != "bad_input" || l.Get("record").Int() != 2 {
		t.Errorf("show --failed: %s", shown)
	}
	c.must(exitFailed, "show", job, "--id", "nobody")

	out, err := os.ReadFile(filepath.Join(c.dir, "out.simulated.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	exported, summary := c.must(exitComplete, "export", "tickets", "--state", "{}/.batchwright", "-o", "-")
	if diff := cmp.Diff(string(out), exported); diff != "" {
		t.Errorf("export (-output +export):\n%s", diff)
	}
	holds(t, summary, "4 records")
	c.must(exitUsage, "export", job)
	if err := os.WriteFile(filepath.Join(c.dir, "in.jsonl"), []byte(`{"id":"a","text":"other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, refusal := c.must(exitChanged, "export", job, "-o", "{}/x.parquet")
	holds(t, refusal, "columns.keep=[]")
	c.must(exitComplete, "export", job, "-o", "{}/x.parquet", "--set", "columns.keep=[]")
	shown, _ = c.must(exitComplete, "show", job, "-n", "1")
	holds(t, shown, "not shown: the input changed")

	_, question := c.must(exitUsage, "rm", job)
	holds(t, question, "3 simulated answers and 6 of tries", "--yes")
	c.must(exitComplete, "rm", job, "--yes")
	c.must(exitUsage, "rm", job, "--yes")
	c.must(exitUsage, "rm", "nobody", "--yes")
}

func TestPromptOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ request, want string }{
		"text":    {`{"messages":[{"role":"user","content":"hi"}]}`, "hi"},
		"blocks":  {`{"messages":[{"content":[{"type":"image","source":{}},{"type":"text","text":"what is it?"}]}]}`, "(image)\nwhat is it?"},
		"turns":   {`{"messages":[{"content":"a"},{"content":"b"},{"content":"c"}]}`, "(after 2 earlier messages)\nc"},
		"nothing": {`{}`, "(no messages)"},
	} {
		if diff := cmp.Diff(test.want, promptOf(json.RawMessage(test.request))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"short":               {" a\nb ", []string{"a", "b"}},
		"nothing":             {"", []string{""}},
		"no cursor movements": {"a\x1b[2Jb", []string{"a [2Jb"}},
		"long":                {strings.Repeat("é", 1003), []string{strings.Repeat("é", 1000) + " … (3 more characters)"}},
		"many lines": {
			strings.Repeat("x\n", 13) + "end",
			append(slices.Repeat([]string{"x"}, 11), "x … (6 more characters)"),
		},
	} {
		if diff := cmp.Diff(test.want, excerpt(test.text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What an answer was and what it is stands beside each other, by member for JSON and by word for text.
func TestDifference(t *testing.T) {
	t.Parallel()
	result := func(status jobs.Status, text string) *jobs.Result {
		message, err := json.Marshal(map[string]any{"content": []any{map[string]string{"type": "text", "text": text}}})
		if err != nil {
			t.Fatal(err)
		}
		r := &jobs.Result{Status: status, Message: message}
		if status == jobs.Failed {
			r.Reason = jobs.ReasonTruncated
		}
		return r
	}
	for name, test := range map[string]struct {
		before, now *jobs.Result
		want        []string
	}{
		"member": {result(jobs.Succeeded, `{"a":"x","b":1}`), result(jobs.Succeeded, `{"a":"y","b":1}`), []string{"a: x → y"}},
		"word":   {result(jobs.Succeeded, "it is red"), result(jobs.Succeeded, "it is blue"), []string{"it is [-red-] {+blue+}"}},
		"status": {result(jobs.Failed, "same"), result(jobs.Succeeded, "same"), []string{"failed: truncated → succeeded"}},
		"space":  {result(jobs.Succeeded, "a b"), result(jobs.Succeeded, "a  b"), []string{"in white space alone, or far down"}},
	} {
		if diff := cmp.Diff(test.want, (&tryScreen{}).difference(test.before, test.now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
