package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// TryOptions say what is to be tried.
type TryOptions struct {
	Job   *jobs.Job
	State State
	// BaseURL is the API's address.
	BaseURL string
	// Records is how many records are tried.
	Records int
	// Slots is how many calls the worker makes at once.
	Slots int
	// Simulated marks a rehearsal, whose answers count for rehearsals alone.
	Simulated bool
}

// Try answers a stable random sample of a job's input, so that a prompt can be seen at work before all of it is
// paid for. The same records come each time while the input is the same. Its answers are kept in the state folder:
// neither a later try nor a run pays for the same request again.
type Try struct {
	options TryOptions
	input   *Input
	run     string
	api     string // what the answers are filed under
	total   int64  // records of the whole input
	lock    *Lock
	log     *journal.Log
	owner   *courier.Owner

	ready       []Tried // need no call
	calls       []*trying
	outstanding map[int64]*trying
	last        map[int64]jobs.Result // of each record, the answer that was shown last
	stopping    atomic.Bool
	outcome     TryOutcome
	latency     time.Duration // of all answers together
}

// trying is a record of the sample that has to be called.
type trying struct {
	jobs.Request
	id       string
	handout  courier.Number
	earliest time.Time // when it may be handed out again; zero while it is out
}

// Tried is a record of the sample that has its result.
type Tried struct {
	// Result is judged. Its cost is that of the call that gave it, whenever that was.
	Result jobs.Result
	// Request is the rendered request; nil when none can be made.
	Request json.RawMessage
	// Reused is set when an earlier try had the answer.
	Reused bool
	// Before is the answer that was shown last for this record, when that was to another request.
	Before *jobs.Result
	// Changed is set when Before has another answer.
	Changed bool
}

// TryOutcome is what a try has come to.
type TryOutcome struct {
	// Sampled counts the records of the sample, Total those of the whole input.
	Sampled int
	Total   int64
	// Tally is of the records that have a result; of its cost Paid is new.
	Tally Tally
	Paid  jobs.Nanodollars
	// Compared counts the records whose request was another at the last try, Changed those with another answer.
	Compared, Changed int
	// Blocked says what a person must do; empty when nothing blocks.
	Blocked string
	// Projected is what the whole input takes if it is like the sample; its Records are 0 when nothing was answered.
	Projected Forecast
}

// PrepareTry checks the job, draws the sample and finds out which of it has to be called. The caller closes the try.
// ErrTrying when another try of the job is on, *UsageError for a mistake in the job.
func PrepareTry(ctx context.Context, o TryOptions) (*Try, error) {
	input, err := Inspect(ctx, o.Job)
	if err != nil {
		return nil, err
	}
	t := &Try{
		options: o, input: input, run: newRunID(), api: o.BaseURL,
		outstanding: make(map[int64]*trying), last: make(map[int64]jobs.Result),
	}
	if o.Simulated {
		t.api = simulatedAPI
	}
	sample, total, err := input.sampleOf(ctx, o.Job, o.Records)
	if err != nil {
		return nil, err
	}
	t.total, t.outcome.Total, t.outcome.Sampled = total, total, len(sample)
	if err := t.open(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if err := t.sort(sample); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// simulatedAPI stands for the API's address in a rehearsal, whose simulator listens elsewhere each time.
const simulatedAPI = "simulator"

// open takes the journal of tries.
func (t *Try) open() error {
	state := t.options.State
	if err := state.create(); err != nil {
		return err
	}
	var err error
	if t.lock, err = state.lockTries(); err != nil {
		return err
	}
	path := filepath.Join(state.Dir, triesFile)
	t.log, err = journal.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.log, err = journal.Create(path)
	}
	if err != nil {
		return fmt.Errorf("open tries: %w", err)
	}
	return nil
}

// sort tells the records that have to be called from those that need no call.
func (t *Try) sort(sample []jobs.Record) error {
	known := make(map[jobs.Digest]jobs.Result)
	inSample := make(map[int64]bool, len(sample))
	wanted := make(map[jobs.Digest]bool, len(sample))
	bodies := make([]json.RawMessage, len(sample))
	problems := make([]string, len(sample))
	for i := range sample {
		bodies[i], problems[i] = t.input.Request(t.options.Job, &sample[i])
		inSample[sample[i].Number], wanted[jobs.DigestOf(bodies[i])] = true, true
	}
	err := eachTry(t.options.State, func(entry tryEntry) {
		if entry.api != t.api {
			return
		}
		if inSample[entry.result.Record] {
			t.last[entry.result.Record] = entry.result
		}
		if wanted[entry.result.Digest] {
			known[entry.result.Digest] = entry.result
		}
	})
	if err != nil {
		return fmt.Errorf("read tries: %w", err)
	}
	var most jobs.Nanodollars
	for i := range sample {
		record, digest := &sample[i], jobs.DigestOf(bodies[i])
		if problems[i] != "" {
			t.ready = append(t.ready, Tried{Result: badInput(t.input, record, digest, problems[i])})
			continue
		}
		if earlier, ok := known[digest]; ok {
			t.ready = append(t.ready, Tried{Result: reuse(earlier, record), Request: bodies[i], Reused: true})
			continue
		}
		most += t.worstCase(bodies[i])
		t.calls = append(t.calls, &trying{
			Request: jobs.Request{Record: record.Number, Digest: digest, Body: bodies[i]}, id: record.ID,
		})
	}
	if budget := t.options.Job.Limits.Budget; budget > 0 && most > budget {
		return usage("a try of %d records may cost %s, which is over the budget of %s: try fewer with -n, or raise limits.budget_usd",
			len(sample), most, budget)
	}
	return nil
}

// worstCase is the most that the answer to a request can cost, 0 without a budget: a run's own reckoning.
func (t *Try) worstCase(body []byte) jobs.Nanodollars {
	r := Run{prepared: prepared{job: t.options.Job}}
	return r.worstCase(body)
}

// badInput is the result of a record that no request can be made of.
func badInput(input *Input, record *jobs.Record, digest jobs.Digest, problem string) jobs.Result {
	r := Run{prepared: prepared{input: input}}
	return r.badInput(record, digest, problem)
}

// ID is the id by which workers join the try.
func (t *Try) ID() string { return t.run }

// Calls is how many records have to be called.
func (t *Try) Calls() int { return len(t.calls) }

// Own takes the try on a Redis. Workers may join from then on.
func (t *Try) Own(ctx context.Context, rdb redis.UniversalClient) error {
	job := t.options.Job
	var err error
	t.owner, err = courier.Own(ctx, rdb, t.run, 0, courier.OwnerOptions{Terms: courier.Terms{
		BaseURL: t.options.BaseURL, APIVersion: job.API.Version, Beta: job.API.Beta, Stream: job.API.Stream,
		Timeout: job.API.Timeout, MaxAttempts: job.MaxAttempts, Limits: job.Limits,
	}})
	if err != nil {
		return fmt.Errorf("own try: %w", err)
	}
	return nil
}

// Stop makes Execute hand nothing more out and end when the calls in flight have come back.
func (t *Try) Stop() { t.stopping.Store(true) }

// Close gives up the journal of tries. Execute must have returned, or never been called.
func (t *Try) Close() error {
	var err error
	if t.log != nil {
		err = t.log.Close()
	}
	if t.lock != nil {
		err = errors.Join(err, t.lock.Unlock())
	}
	if err != nil {
		return fmt.Errorf("close try: %w", err)
	}
	return nil
}
