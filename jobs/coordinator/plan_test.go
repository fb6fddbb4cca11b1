package coordinator_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker/simulator"
)

func (r *rig) plan() *coordinator.Plan {
	r.t.Helper()
	plan, err := coordinator.MakePlan(r.t.Context(), coordinator.Options{Job: r.job(), State: r.state(), BaseURL: r.api.URL}, 2)
	if err != nil {
		r.t.Fatal(err)
	}
	return plan
}

// A plan tells what is in the input and what is wrong with it, each with its place, renders the first requests, and
// writes and calls nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(300)+"{broken\n"+`{"id":"r7"}`+"\n"+`{"id":"r3","text":"again"}`+"\n")
	p := r.plan()
	if p.Survey.Records != 303 || p.Survey.Broken != 1 || p.Unaskable != 1 || len(p.Refusals) != 0 || p.Continues {
		t.Errorf("plan: %+v, survey %+v", p, p.Survey)
	}
	for what, found := range map[string]struct {
		texts []string
		want  []string
	}{
		"broken":     {p.Survey.Problems, []string{"in.jsonl:301"}},
		"no request": {p.UnaskableAt, []string{"in.jsonl:302", `"text"`}},
		"same id":    {p.Survey.Duplicates, []string{"in.jsonl:4 ", "in.jsonl:303"}},
	} {
		for _, want := range found.want {
			if text := strings.Join(found.texts, "\n"); !strings.Contains(text, want) {
				t.Errorf("%s: %q, want %q in it", what, text, want)
			}
		}
	}
	if len(p.Requests) != 2 || gjson.GetBytes(p.Requests[1].Body, "messages.0.content").Str != "Question: question 1" || p.Requests[1].ID != "r1" {
		t.Errorf("requests: %+v", p.Requests)
	}
	if f := p.Forecast; f.Records != 303 || !f.Exact || f.Input == 0 || f.Cost == 0 || f.Most < f.Cost || f.OutputKnown {
		t.Errorf("forecast: %+v", f)
	}
	if names := p.Columns.Names(); !cmp.Equal(names[:3], []string{"id", "text", "response"}) {
		t.Errorf("columns: %v", names)
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil || len(entries) != 2 || r.api.Stats().Calls != 0 {
		t.Errorf("after the plan there are %v, and %d calls were made (%v)", entries, r.api.Stats().Calls, err)
	}
	var usage *coordinator.UsageError
	_, err = coordinator.MakePlan(t.Context(), coordinator.Options{Job: r.job(`request.system={{.txt}}`), State: r.state()}, 1)
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "text") {
		t.Errorf("a template with an unknown column: %v", err)
	}
}

// A plan refuses what run refuses, and knows what a run and tries have done.
func TestPlanAndState(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(300))
	r.try(10)
	if f := r.plan().Forecast; !f.OutputKnown {
		t.Errorf("forecast after a try: %+v", f)
	}
	r.write("out.jsonl", "somebody else's")
	refused := func(p *coordinator.Plan, want string) {
		t.Helper()
		if text := strings.Join(p.Refusals, "\n"); !strings.Contains(text, want) {
			t.Errorf("refusals %q, want %q in them", text, want)
		}
		if _, err := r.run(nil); err == nil {
			t.Error("and run does not refuse")
		}
	}
	refused(r.plan(), "exists already")
	if err := os.Remove(filepath.Join(r.dir, "out.jsonl")); err != nil {
		t.Fatal(err)
	}
	r.complete()
	if p := r.plan(); !p.Continues || p.Done != 300 || len(p.Refusals) != 0 {
		t.Errorf("after the run: %d done, %v", p.Done, p.Refusals)
	}
	r.write("in.jsonl", lines(299))
	refused(r.plan(), "in.jsonl had")
}

// The Message Batches format needs legal ids of their own.
func TestPlanMessageBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", "input: in.jsonl\noutput: out.jsonl\n")
	line := func(id string) string {
		return `{"custom_id":"` + id + `","params":{"model":"claude-haiku-4-5","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}}` + "\n"
	}
	r.write("in.jsonl", line("a")+line("b b")+line("a"))
	p := r.plan()
	if len(p.Refusals) != 2 || len(p.Survey.Duplicates) != 1 || len(p.Survey.IllegalIDs) != 1 || !strings.Contains(p.Survey.IllegalIDs[0], "in.jsonl:2") {
		t.Errorf("refusals %v, survey %+v", p.Refusals, p.Survey)
	}
	if want := (jobs.Schema{{Name: "custom_id"}, {Name: "result"}}).Names(); !cmp.Equal(want, p.Columns.Names()) {
		t.Errorf("columns %v, want %v", p.Columns.Names(), want)
	}
	if p.Requests[0].Body == nil || p.Requests[0].ID != "a" {
		t.Errorf("requests: %+v", p.Requests)
	}
}
