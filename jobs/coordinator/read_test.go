package coordinator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/simulator"
)

// mixedRun is a complete run of which some records have failed: the broken one, and those that the API rejects.
func mixedRun(t *testing.T) *rig {
	t.Helper()
	var rejects simulator.Faults
	if err := rejects.Set("400=20%"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, simulator.Options{Deterministic: rejects})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(60)+"{broken\n"+`{"id":"7","text":"the label is the number of another"}`+"\n")
	r.complete()
	return r
}

// partialRun is a run of 2,000 records that was stopped when 300 or more were done.
func partialRun(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, simulator.Options{Latency: time.Millisecond})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(2000))
	outcome, err := r.run(func(ctx context.Context, run *coordinator.Run, w *worker.Worker) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for run.Progress().Tally.Done() < 300 {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		run.Stop(ctx)
		w.Drain(ctx)
	})
	if err != nil || outcome.Complete {
		t.Fatalf("the run did not stop in between: %+v, %v", outcome, err)
	}
	return r
}

func (r *rig) results() *coordinator.Results {
	r.t.Helper()
	results, err := coordinator.OpenResults(r.state())
	if err != nil {
		r.t.Fatal(err)
	}
	return results
}

func TestOverview(t *testing.T) {
	t.Parallel()
	r := mixedRun(t)
	o, err := r.results().Overview()
	if err != nil {
		t.Fatal(err)
	}
	if o.Tally.Done() != 62 || o.Tally.Failed[jobs.ReasonBadInput] != 1 || o.Tally.Failed[jobs.ReasonRejected] == 0 ||
		o.Parts != 1 || o.Open != 0 || o.Running != nil {
		t.Errorf("complete run: %+v", o)
	}
	r = partialRun(t)
	lock, err := r.state().Lock()
	if err != nil {
		t.Fatal(err)
	}
	if o, err = r.results().Overview(); err != nil || o.Tally.Done() < 300 || o.Open != 1 || o.Running == nil || o.Running.PID != os.Getpid() {
		t.Errorf("run in between, with its lock held: %+v, %v", o, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if o, err = r.results().Overview(); err != nil || o.Running != nil {
		t.Errorf("after the lock was given up: %+v, %v", o.Running, err)
	}
	var usage *coordinator.UsageError
	if _, err := coordinator.OpenResults(coordinator.State{Dir: t.TempDir()}); !errors.As(err, &usage) {
		t.Errorf("no run: %v", err)
	}
}

// Records are found by label before number, by failure, and in their order; with the request that was sent.
func TestSelect(t *testing.T) {
	t.Parallel()
	r := mixedRun(t)
	results := r.results()
	input, err := results.Input(t.Context(), r.job())
	if err != nil {
		t.Fatal(err)
	}
	pick := func(s coordinator.Selection) []coordinator.Shown {
		t.Helper()
		var shown []coordinator.Shown
		n, err := results.Select(t.Context(), s, input, "", r.job(), func(one coordinator.Shown) error {
			shown = append(shown, one)
			return nil
		})
		if err != nil || n != len(shown) {
			t.Fatalf("select %+v: %d, %v", s, n, err)
		}
		return shown
	}
	for name, test := range map[string]struct {
		selection coordinator.Selection
		records   []int64
	}{
		"label":                   {coordinator.Selection{ID: "r12", Most: 20}, []int64{12}},
		"number":                  {coordinator.Selection{ID: "12", Most: 20}, []int64{12}},
		"label that is a number":  {coordinator.Selection{ID: "7", Most: 20}, []int64{61}},
		"neither":                 {coordinator.Selection{ID: "r62", Most: 20}, nil},
		"first":                   {coordinator.Selection{Most: 3}, []int64{0, 1, 2}},
		"none":                    {coordinator.Selection{}, nil},
		"failed, and so numbered": {coordinator.Selection{ID: "60", Failed: true, Most: 20}, []int64{60}},
	} {
		var got []int64
		for _, one := range pick(test.selection) {
			got = append(got, one.Result.Record)
		}
		if diff := cmp.Diff(test.records, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if request := pick(coordinator.Selection{ID: "r12", Most: 1})[0].Request; gjson.GetBytes(request, "messages.0.content").Str != "Question: question 12" {
		t.Errorf("request: %s", request)
	}
	failed := pick(coordinator.Selection{Failed: true, Most: 100})
	o, err := results.Overview()
	if err != nil || int64(len(failed)) != o.Tally.Done()-o.Tally.Succeeded {
		t.Errorf("%d failed shown, overview %+v, %v", len(failed), o.Tally, err)
	}
	for _, one := range failed {
		if one.Result.Record == 60 && (one.Request != nil || one.Note == "") {
			t.Errorf("broken record: %+v", one)
		}
	}
	if most := pick(coordinator.Selection{Failed: true, Most: 2}); len(most) != 2 {
		t.Errorf("%d shown, want 2", len(most))
	}
	_, err = results.Select(t.Context(), coordinator.Selection{ID: "r12", Most: 1}, input, "", r.job("request.max_tokens=7"), func(one coordinator.Shown) error {
		if !strings.Contains(one.Note, "changed") {
			t.Errorf("a request that was not sent is shown as if it was: %+v", one)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.write("in.jsonl", lines(61))
	var changed *coordinator.InputChangedError
	if _, err := results.Input(t.Context(), r.job()); !errors.As(err, &changed) || !strings.Contains(err.Error(), "in.jsonl") {
		t.Errorf("changed input: %v", err)
	}
}

func (r *rig) export(path string, set ...string) (string, coordinator.Exported, error) {
	r.t.Helper()
	o := coordinator.ExportOptions{Job: r.job(set...), State: r.state()}
	var stream bytes.Buffer
	if path == "" {
		o.Stream = &stream
		done, err := coordinator.Export(r.t.Context(), o)
		return stream.String(), done, err
	}
	o.Path = filepath.Join(r.dir, path)
	done, err := coordinator.Export(r.t.Context(), o)
	content, readErr := os.ReadFile(o.Path)
	if err == nil && readErr != nil {
		r.t.Fatal(readErr)
	}
	return string(content), done, err
}

// A complete run exports what it has written, byte for byte, and the same rows in another format.
func TestExportComplete(t *testing.T) {
	t.Parallel()
	r := mixedRun(t)
	want := r.read("out.jsonl")
	for _, path := range []string{"again.jsonl", ""} {
		got, done, err := r.export(path)
		if err != nil || done.Records != 62 || done.Total != 62 || !done.TotalKnown {
			t.Fatalf("export to %q: %+v, %v", path, done, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("export to %q (-output +export):\n%s", path, diff)
		}
	}
	if _, _, err := r.export("again.parquet"); err != nil {
		t.Fatal(err)
	}
	reader, err := parquetio.Open(filepath.Join(r.dir, "again.parquet"), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for row := range strings.Lines(want) {
		record, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"id", "text", "response", "_status", "_error", "_cost_usd", "_finished_at"} {
			value, _ := record.Get(name)
			if want := gjson.Get(row, name); gjson.ParseBytes(value).String() != want.String() {
				t.Errorf("record %d: %s is %s, want %s", record.Number, name, value, want)
			}
		}
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last row: %v", err)
	}
	got, _, err := r.export("", "columns.keep=[id]", "columns.add={raw: .model}", "columns.prefix=x")
	if first, _, _ := strings.Cut(got, "\n"); err != nil || gjson.Get(first, "text").Exists() || gjson.Get(first, "id").Str != "r0" ||
		!gjson.Get(first, "xraw").Exists() {
		t.Errorf("other columns: %s, %v", first, err)
	}
}

// A run in between exports what there is: the output of the complete run without the rows that are missing.
func TestExportPartial(t *testing.T) {
	t.Parallel()
	r := partialRun(t)
	got, done, err := r.export("part.jsonl")
	if err != nil || done.Records < 300 || done.Records >= 2000 || int64(strings.Count(got, "\n")) != done.Records {
		t.Fatalf("export: %+v with %d rows, %v", done, strings.Count(got, "\n"), err)
	}
	r.complete()
	rows := make(map[string]bool)
	for row := range strings.Lines(r.read("out.jsonl")) {
		rows[row] = true
	}
	last := ""
	for row := range strings.Lines(got) {
		if !rows[row] {
			t.Fatalf("a row that is not in the output: %s", row)
		}
		if row == last {
			t.Errorf("a row twice: %s", row)
		}
		last = row
	}
}

// Without the input the columns that are not the input's can still be had. Nothing that the run reads or is going
// to write is written over.
func TestExportRefuses(t *testing.T) {
	t.Parallel()
	r := partialRun(t)
	var usage *coordinator.UsageError
	for path, want := range map[string]string{
		"in.jsonl": "input file", "out.jsonl": "where the run writes", "x.txt": "no format", "folder/": "one file",
	} {
		if path == "folder/" {
			path = r.dir + "/folder/"
			_, err := coordinator.Export(t.Context(), coordinator.ExportOptions{Job: r.job(), State: r.state(), Path: path})
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
				t.Errorf("export to %s: %v", path, err)
			}
			continue
		}
		if _, _, err := r.export(path); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("export to %s: %v, want %q", path, err, want)
		}
	}
	if r.read("in.jsonl") != lines(2000) {
		t.Fatal("the input was written over")
	}
	r.write("in.jsonl", lines(3))
	var changed *coordinator.InputChangedError
	if _, _, err := r.export("x.jsonl"); !errors.As(err, &changed) || !strings.Contains(err.Error(), "columns.keep=[]") {
		t.Errorf("changed input: %v", err)
	}
	if err := os.Remove(filepath.Join(r.dir, "in.jsonl")); err != nil {
		t.Fatal(err)
	}
	got, done, err := r.export("", "columns.keep=[]")
	if first, _, _ := strings.Cut(got, "\n"); err != nil || done.Records < 300 || gjson.Get(first, "text").Exists() || gjson.Get(first, "response").Str == "" {
		t.Errorf("without the input: %+v, %v, %s", done, err, first)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(r.dir, "cut.jsonl")
	_, err = coordinator.Export(canceled, coordinator.ExportOptions{Job: r.job("columns.keep=[]"), State: r.state(), Path: path})
	if _, statErr := os.Stat(path); !errors.Is(err, context.Canceled) || statErr == nil {
		t.Errorf("interrupted export: %v; file: %v", err, statErr)
	}
}

// A job is found again by the name of its run, from any folder, with the changes of the command line on top.
func TestDefinition(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", "vars: {n: ~}\nname: job-${n}\n"+strings.TrimPrefix(textJob, "\n"))
	r.write("in.jsonl", lines(1))
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, filepath.Join(r.dir, "job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := coordinator.Define(relative, jobs.Options{Vars: map[string]string{"n": "1"}, Set: []string{"request.max_tokens=9"}, Output: "x/"})
	if err != nil {
		t.Fatal(err)
	}
	if d.File != filepath.Join(r.dir, "job.yaml") || d.Output != filepath.Join(here, "x")+"/" {
		t.Errorf("definition: %+v", d)
	}
	job, err := d.Load(jobs.Options{Set: []string{"columns.prefix=p_"}, Output: filepath.Join(r.dir, "y.jsonl")})
	if err != nil {
		t.Fatal(err)
	}
	if job.Name != "job-1" || job.Request.MaxTokens() != 9 || job.Columns.Prefix != "p_" || filepath.Base(job.Output) != "y.jsonl" {
		t.Errorf("job: %+v", job)
	}
	flags, err := coordinator.Define("", jobs.Options{Input: []string{relative, "s3://b/k"}, Output: "out.jsonl", Model: "m", Prompt: "{{.text}}"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(r.dir, "job.yaml"), "s3://b/k"}, flags.Input); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
	if job, err := flags.Load(jobs.Options{Prompt: "other"}); err != nil || job.Name != "out" || !strings.Contains(job.Request.Source(), "other") {
		t.Errorf("job of flags: %+v, %v", job, err)
	}
	var usage *coordinator.UsageError
	if _, err := (&coordinator.Definition{File: "/nowhere/job.yaml"}).Load(jobs.Options{}); !errors.As(err, &usage) {
		t.Errorf("a job file that is gone: %v", err)
	}
}
