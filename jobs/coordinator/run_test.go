package coordinator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
	"github.com/batchwright/batchwright/worker/simulator"
)

// rig is one job in a folder of its own, and a simulated API.
type rig struct {
	t    *testing.T
	dir  string
	api  *simulator.Server
	rdb  func() redis.UniversalClient // of each run; default a new embedded one
	args coordinator.Options
	// apiName is the API's address as runs note it; default its own.
	apiName string
}

// textJob asks for free text about each line.
const textJob = `
input: in.jsonl
output: out.jsonl
request:
  model: claude-haiku-4-5-20251001
  max_tokens: 50
  messages: [{role: user, content: "Question: {{.text}}"}]
limits: {concurrency: 16}
`

func newRig(t *testing.T, options simulator.Options) *rig {
	t.Helper()
	options.Record = true
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", options)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: t.TempDir(), api: api}
	t.Cleanup(func() { r.api.Close() })
	return r
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) read(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

// prepare takes the job up; the lock is given back at the end of the test.
func (r *rig) prepare() (*coordinator.Run, func(), error) {
	r.t.Helper()
	job, err := jobs.Load(filepath.Join(r.dir, "job.yaml"), jobs.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	o := r.args
	o.Job, o.State, o.BaseURL = job, coordinator.StateOf(filepath.Join(r.dir, ".batchwright"), "job", o.Simulated), r.api.URL
	o.Window = 200
	if r.apiName != "" {
		o.BaseURL = r.apiName
	}
	lock, err := o.State.Lock()
	if err != nil {
		return nil, func() {}, err
	}
	run, err := coordinator.Prepare(r.t.Context(), o)
	return run, func() { lock.Unlock() }, err
}

// run runs the job until it ends, or until stop says so.
func (r *rig) run(stop func(ctx context.Context, run *coordinator.Run, w *worker.Worker)) (coordinator.Outcome, error) {
	r.t.Helper()
	run, unlock, err := r.prepare()
	defer unlock()
	if err != nil {
		return coordinator.Outcome{}, err
	}
	if run.Finished() {
		return coordinator.Outcome{Complete: true, Progress: run.Progress()}, run.Close()
	}
	var rdb redis.UniversalClient
	if r.rdb != nil {
		rdb = r.rdb()
	} else {
		embedded := courier.StartEmbedded()
		defer embedded.Close()
		rdb = embedded.Client()
	}
	if err := run.Own(r.t.Context(), rdb, coordinator.OwnOptions{Embedded: r.rdb == nil}); err != nil {
		return coordinator.Outcome{}, err
	}
	client, err := messages.New(messages.Options{BaseURL: r.api.URL, Secret: messages.NewSecret("k"), Timeout: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	w, err := worker.Start(r.t.Context(), rdb, worker.Options{
		Only: run.ID(), Poll: 5 * time.Millisecond,
		Caller: func(courier.Terms) (worker.Caller, error) { return client, nil },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if stop != nil {
			stop(ctx, run, w)
		}
	}()
	outcome, err := run.Execute(ctx)
	cancel()
	<-stopped
	w.Drain(r.t.Context())
	return outcome, err
}

func (r *rig) complete() coordinator.Outcome {
	r.t.Helper()
	outcome, err := r.run(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if !outcome.Complete {
		r.t.Fatalf("the run is not complete: %+v", outcome)
	}
	return outcome
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":\"r%d\",\"text\":\"question %d\"}\n", i, i)
	}
	return b.String()
}

// checkComplete holds G1: each input record once, in input order.
func checkComplete(t *testing.T, output string, n int) {
	t.Helper()
	rows := strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	if output == "" {
		rows = nil
	}
	if len(rows) != n {
		t.Fatalf("%d rows in the output, want %d", len(rows), n)
	}
	for i, row := range rows {
		if !gjson.Valid(row) || gjson.Get(row, "id").Str != fmt.Sprintf("r%d", i) {
			t.Fatalf("row %d is %.120s", i, row)
		}
	}
}

// A run gives each record one row, in input order, with the answer and what it took; on the embedded Redis and on a
// real one.
func TestRunComplete(t *testing.T) {
	t.Parallel()
	for name, rdb := range map[string]func(t *testing.T) redis.UniversalClient{
		"embedded": nil,
		"redis-server": func(t *testing.T) redis.UniversalClient {
			t.Helper()
			return redistest.Start(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			if rdb != nil {
				client := rdb(t)
				r.rdb = func() redis.UniversalClient { return client }
			}
			r.write("job.yaml", textJob)
			r.write("in.jsonl", lines(1000))
			outcome := r.complete()
			checkComplete(t, r.read("out.jsonl"), 1000)
			first, _, _ := strings.Cut(r.read("out.jsonl"), "\n")
			row := gjson.Parse(first)
			if row.Get("response").Str == "" || row.Get("_status").Str != "succeeded" || row.Get("_attempts").Int() != 1 ||
				row.Get("_input_tokens").Int() == 0 || row.Get("_cost_usd").Float() == 0 || row.Get("text").Str != "question 0" {
				t.Errorf("first row: %s", first)
			}
			if outcome.Tally.Succeeded != 1000 || outcome.Tally.Calls != 1000 || outcome.Repeats != 0 {
				t.Errorf("tally: %+v", outcome.Tally)
			}
			if repeated := r.api.Stats().Repeated; repeated != 0 {
				t.Errorf("%d calls were paid twice", repeated)
			}
			// Run again it does nothing, and says the same.
			again := r.complete()
			if again.Tally.Succeeded != 1000 || r.api.Stats().Calls != 1000 {
				t.Errorf("the second run: %+v", again.Tally)
			}
		})
	}
}

// A run that is stopped and continued, again and again, pays for each record once.
func TestStopAndContinue(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{Latency: 3 * time.Millisecond})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(2000))
	stops := 0
	for ; ; stops++ {
		outcome, err := r.run(func(ctx context.Context, run *coordinator.Run, w *worker.Worker) {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for p, before := run.Progress(), int64(-1); before < 0 || p.Tally.Done() < before+300; p = run.Progress() {
				if before < 0 {
					before = p.Tally.Done()
				}
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
			run.Stop(ctx)
			w.Drain(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		if outcome.Complete {
			break
		}
	}
	if stops < 3 {
		t.Errorf("the run was stopped %d times only", stops)
	}
	checkComplete(t, r.read("out.jsonl"), 2000)
	if s := r.api.Stats(); s.Repeated != 0 || s.Calls != 2000 {
		t.Errorf("%d calls for 2000 records, %d repeated", s.Calls, s.Repeated)
	}
}

// Broken records keep their place as bad_input, with file and line, and cost no call.
func TestBadInput(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", "\ufeff"+`{"id":"r0","text":"a"}`+"\r\n\n"+`{"id":"r1","text":`+"\n"+`{"id":"r2","text":"\ud800"}`+"\n"+
		`{"id":"r3"}`+"\n"+`{"id":"r4","text":null}`)
	outcome := r.complete()
	if outcome.Tally.Succeeded != 2 || outcome.Tally.Failed[jobs.ReasonBadInput] != 3 {
		t.Errorf("tally: %+v", outcome.Tally)
	}
	rows := strings.Split(strings.TrimSpace(r.read("out.jsonl")), "\n")
	if len(rows) != 5 {
		t.Fatalf("%d rows, want 5", len(rows))
	}
	for i, want := range map[int]string{1: "in.jsonl:3", 2: "in.jsonl:4", 3: `in.jsonl:5: no column "text"`} {
		if e := gjson.Get(rows[i], "_error").Str; !strings.Contains(e, want) || gjson.Get(rows[i], "_reason").Str != "bad_input" {
			t.Errorf("row %d: %s, want an error with %q", i, rows[i], want)
		}
	}
	if calls := r.api.Stats().Calls; calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}

	r.args.Fresh, r.args.Strict = true, true
	var bad *coordinator.BadInputError
	if _, err := r.run(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), "3 of 5 records") || len(bad.Problems) != 3 {
		t.Errorf("--strict: %v, want a BadInputError that names 3 of 5 records", err)
	}
}

// The faults that pass cost retries, and no record.
func TestFaultsPass(t *testing.T) {
	t.Parallel()
	var errorsMix simulator.Faults
	if err := errorsMix.Set("529=4%,500=4%,503=2%,429=3%,reset=2%,cut=2%,empty=2%,html=2%,error200=2%"); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream %v", stream), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{Errors: errorsMix, Seed: 7})
			r.write("job.yaml", textJob+fmt.Sprintf("api: {stream: %v}\n", stream))
			r.write("in.jsonl", lines(300))
			outcome := r.complete()
			checkComplete(t, r.read("out.jsonl"), 300)
			if outcome.Tally.Succeeded != 300 || outcome.Tally.Retries < 20 {
				t.Errorf("tally: %+v", outcome.Tally)
			}
		})
	}
}

// Zero records give an empty output of the right shape.
func TestEmptyInput(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.parquet"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", strings.Replace(textJob, "out.jsonl", output, 1))
			r.write("in.jsonl", "\n\n")
			outcome := r.complete()
			if outcome.Total != 0 || outcome.Tally.Done() != 0 {
				t.Errorf("progress: %+v", outcome.Progress)
			}
			if output == "out.jsonl" && r.read(output) != "" {
				t.Errorf("output: %q", r.read(output))
			}
			if output == "out.parquet" && !bytes.HasPrefix([]byte(r.read(output)), []byte("PAR1")) {
				t.Error("the output is no Parquet file")
			}
		})
	}
}

// A column that few records have is known wherever it first comes; one that no record has is refused.
func TestColumnAfterTheSample(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(job string) string{
		"in the request": func(job string) string {
			return strings.Replace(job, "{{.text}}", `{{.text}} {{default 'none' .note}}`, 1)
		},
		"id":   func(job string) string { return job + "id: note\n" },
		"kept": func(job string) string { return job + "columns: {keep: [id, note]}\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", strings.ReplaceAll(change(textJob), "'none'", `\"none\"`))
			r.write("in.jsonl", lines(300)+`{"id":"r300","text":"question 300","note":"late"}`+"\n")
			r.complete()
			checkComplete(t, r.read("out.jsonl"), 301)
			r.write("in.jsonl", lines(301))
			var usage *coordinator.UsageError
			if _, err := coordinator.Inspect(t.Context(), r.job()); !errors.As(err, &usage) || !strings.Contains(err.Error(), `no column "note"`) {
				t.Errorf("a column that no record has: %v", err)
			}
		})
	}
}

// A job whose output its own input would lead to is refused, also where only the rehearsal's output would be read.
func TestOutputAmongInput(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ input, output string }{
		"the same file":      {"in.jsonl", "in.jsonl"},
		"by a glob":          {"'*.jsonl'", "out.jsonl"},
		"in the folder":      {".", "out.parquet"},
		"parts by a glob":    {"['in.jsonl', 'out/*.jsonl']", "out/"},
		"only the rehearsal": {"'*.simulated.jsonl'", "out.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", strings.NewReplacer("in.jsonl", test.input, "out.jsonl", test.output).Replace(textJob))
			r.write("in.jsonl", lines(3))
			r.write("in.simulated.jsonl", lines(3))
			if err := os.Mkdir(filepath.Join(r.dir, "out"), 0o700); err != nil {
				t.Fatal(err)
			}
			r.write("out/earlier.jsonl", lines(3))
			var usage *coordinator.UsageError
			if _, err := coordinator.Inspect(t.Context(), r.job()); !errors.As(err, &usage) || !strings.Contains(err.Error(), "would itself be read") {
				t.Errorf("inspect: %v", err)
			}
		})
	}
}

// A table without a row has columns all the same: those of its header.
func TestNoRows(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", strings.NewReplacer("in.jsonl", "in.csv", "out.jsonl", "out.parquet").Replace(textJob))
	r.write("in.csv", "id,text\n")
	r.complete()
	columns, rows, err := parquetio.ReadSchema(filepath.Join(r.dir, "out.parquet"))
	if err != nil || rows != 0 || len(columns) < 3 {
		t.Fatalf("output: %d rows of %v, error %v", rows, columns.Names(), err)
	}
	if diff := cmp.Diff([]string{"id", "text", "response"}, columns.Names()[:3]); diff != "" {
		t.Errorf("columns of the output (-want +got):\n%s", diff)
	}
	r.write("in.csv", "id,txt\n")
	var usage *coordinator.UsageError
	if _, err := coordinator.Inspect(t.Context(), r.job()); !errors.As(err, &usage) || !strings.Contains(err.Error(), "txt") {
		t.Errorf("a template over a column that the header lacks: %v", err)
	}
}

// Message Batches requests give Message Batches results.
func TestMessageBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", "input: in.jsonl\noutput: out.jsonl\n")
	request := `{"custom_id":"%s","params":{"model":"claude-haiku-4-5-20251001","max_tokens":20,"messages":[{"role":"user","content":"hi %d"}]}}` + "\n"
	r.write("in.jsonl", fmt.Sprintf(request, "a", 1)+fmt.Sprintf(request, "b", 2)+`{"custom_id":"c","params":{"model":"claude-haiku-4-5"}}`+"\n")
	r.complete()
	var got []string
	for row := range strings.Lines(r.read("out.jsonl")) {
		got = append(got, gjson.Get(row, "custom_id").Str+" "+gjson.Get(row, "result.type").Str+" "+gjson.Get(row, "result.message.type").Str+
			gjson.Get(row, "result.error.error.type").Str)
	}
	want := []string{"a succeeded message", "b succeeded message", "c errored invalid_request_error"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}

	r.args.Fresh = true
	r.write("in.jsonl", fmt.Sprintf(request, "a", 1)+fmt.Sprintf(request, "b", 2)+fmt.Sprintf(request, "a", 3))
	var bad *coordinator.BadInputError
	if _, err := r.run(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), "in.jsonl:1") || !strings.Contains(err.Error(), "in.jsonl:3") {
		t.Errorf("duplicate custom_id: %v, want both lines named", err)
	}
}

// A record that comes with the name of an added column only after the sample fails alone, in typed output too.
func TestLateClash(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"out.jsonl", "out.parquet"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", strings.Replace(textJob, "out.jsonl", output, 1))
			r.write("in.jsonl", lines(300)+`{"id":"r300","text":"x","_status":"mine"}`+"\n")
			outcome := r.complete()
			if outcome.Tally.Succeeded != 300 || outcome.Tally.Failed[jobs.ReasonBadInput] != 1 {
				t.Errorf("tally: %+v", outcome.Tally)
			}
		})
	}
}
