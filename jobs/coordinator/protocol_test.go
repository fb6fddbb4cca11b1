package coordinator_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
)

// stage is a run in a bubble of testing/synctest, whose workers are the test's own: it decides what they claim, answer,
// give back, and when.
type stage struct {
	t     *testing.T
	dir   string
	redis *miniredis.Miniredis
	rdb   *redis.Client
}

// setStage writes a job whose records all make the same request. Call it inside a bubble, with a folder from outside.
func setStage(t *testing.T, dir string, records int) *stage {
	t.Helper()
	s := &stage{t: t, dir: dir, redis: miniredis.NewMiniRedis()}
	s.redis.ClockTTL(true)
	var dialing sync.Mutex // a connection that is being made must not meet a server that is being closed
	closed := false
	s.rdb = redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:6379", DisableIdentity: true, Protocol: 2,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			dialing.Lock()
			defer dialing.Unlock()
			if closed {
				return nil, net.ErrClosed
			}
			return s.redis.Dial()
		},
	})
	t.Cleanup(func() {
		s.rdb.Close()
		dialing.Lock()
		closed = true
		dialing.Unlock()
		s.redis.Close()
	})
	job := strings.Replace(textJob, "{{.text}}", "is it good?", 1)
	for name, content := range map[string]string{"job.yaml": job, "in.jsonl": lines(records)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// ending is how a coordinator ended.
type ending struct {
	outcome coordinator.Outcome
	err     error
}

// coordinate starts a coordinator; kill ends it as a signal that can't be caught would, but for its lock.
func (s *stage) coordinate() (run *coordinator.Run, ended <-chan ending, kill func()) {
	s.t.Helper()
	job, err := jobs.Load(filepath.Join(s.dir, "job.yaml"), jobs.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	state := coordinator.StateOf(filepath.Join(s.dir, ".batchwright"), "job", false)
	lock, err := state.Lock()
	if err != nil {
		s.t.Fatal(err)
	}
	run, err = coordinator.Prepare(s.t.Context(), coordinator.Options{Job: job, State: state, BaseURL: "http://api", Window: 200})
	if err == nil {
		err = run.Own(s.t.Context(), s.rdb, coordinator.OwnOptions{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan ending, 1)
	go func() {
		outcome, err := run.Execute(ctx)
		lock.Unlock()
		done <- ending{outcome, err}
	}()
	return run, done, cancel
}

// end waits for a coordinator to end, an hour at most.
func (s *stage) end(ended <-chan ending) ending {
	s.t.Helper()
	select {
	case end := <-ended:
		return end
	case <-time.After(time.Hour):
		s.t.Fatal("the coordinator has not ended in an hour")
		return ending{}
	}
}

// actor is a worker that does as it is told.
type actor struct {
	*courier.Session
	claims chan courier.HandOut

	mu    sync.Mutex
	calls map[int64]int // by record
}

// join makes a worker that answers what it claims at once when that is wanted, and else passes it to claims.
func (s *stage) join(run *coordinator.Run, name string, answers func() bool) *actor {
	s.t.Helper()
	a := &actor{claims: make(chan courier.HandOut, 100), calls: map[int64]int{}}
	joined := make(chan struct{})
	var err error
	a.Session, err = courier.Join(s.t.Context(), s.rdb, run.ID(), courier.SessionOptions{
		Worker: name, Slots: 16,
		Serve: func(h courier.HandOut) {
			<-joined
			a.mu.Lock()
			for i := range h.Requests {
				a.calls[h.Requests[i].Record]++
			}
			a.mu.Unlock()
			if answers() {
				a.answer(&h)
			} else {
				a.claims <- h
			}
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	close(joined)
	return a
}

// answer delivers a result for each record of a hand-out.
func (a *actor) answer(h *courier.HandOut) {
	for i := range h.Requests {
		a.Deliver(courier.Delivery{Handout: h.Number, Result: resultOf(&h.Requests[i])})
	}
}

func resultOf(r *jobs.Request) *jobs.Result {
	return &jobs.Result{
		Record: r.Record, Digest: r.Digest, Status: jobs.Succeeded, Attempts: 1, Calls: 1, FinishedAt: time.Now(),
		StopReason: "end_turn", Model: "m",
		Message: []byte(`{"type":"message","role":"assistant","stop_reason":"end_turn","model":"m","content":[{"type":"text","text":"yes"}],` +
			`"usage":{"input_tokens":20,"output_tokens":3}}`),
	}
}

// G3: a record that a worker of an earlier coordinator answers while its chunk waits to be handed out is not handed out.
func TestAnswerToWaitingChunk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := setStage(t, dir, 60)
		run, ended, _ := s.coordinate()
		var answers atomic.Bool
		a := s.join(run, "a", answers.Load)
		var held []courier.HandOut
		out := int64(0)
		for out < 20 { // no more are trusted to the fleet before one is answered
			h := <-a.claims
			held = append(held, h)
			out += int64(len(h.Requests))
		}
		time.Sleep(time.Second)
		answers.Store(true)
		digest := held[0].Requests[0].Digest
		late := map[int64]bool{}
		for record := out; record < out+4; record++ {
			late[record] = true
			a.Deliver(courier.Delivery{Handout: 7, Result: resultOf(&jobs.Request{Record: record, Digest: digest})})
		}
		time.Sleep(time.Second)
		for i := range held {
			a.answer(&held[i])
		}
		end := s.end(ended)
		if end.err != nil || !end.outcome.Complete || end.outcome.Tally.Done() != 60 || end.outcome.Repeats != 0 {
			t.Errorf("the run ended with %+v: %v", end.outcome, end.err)
		}
		a.Close(t.Context())
		for record := range int64(60) {
			want := 1
			if late[record] {
				want = 0
			}
			if a.calls[record] != want {
				t.Errorf("record %d was handed out %d times, want %d", record, a.calls[record], want)
			}
		}
	})
}

// G6: a run that is told to stop while Redis can't be asked ends when it can.
func TestStopWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, paused := range []bool{false, true} {
		t.Run(fmt.Sprintf("paused %v", paused), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := setStage(t, dir, 60)
				run, ended, kill := s.coordinate()
				defer kill()
				time.Sleep(2 * time.Second) // records are handed out, and nobody claims them
				if paused {
					if err := courier.Want(t.Context(), s.rdb, run.ID(), courier.Pause); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Second)
				}
				s.redis.SetError("ERR away")
				run.Stop(t.Context())
				s.redis.SetError("")
				select {
				case end := <-ended:
					if end.err != nil || end.outcome.Complete {
						t.Errorf("complete %v: %v", end.outcome.Complete, end.err)
					}
				case <-time.After(time.Minute):
					t.Error("the run has not ended a minute later")
					kill()
					<-ended
				}
			})
		})
	}
}

// G3: a record that came back and went out again is the later worker's for the coordinator that comes next.
func TestAdoptFromTheLaterClaim(t *testing.T) {
	t.Parallel()
	for i := range 8 { // claims come in random order
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := setStage(t, dir, 8)
				run, ended, kill := s.coordinate()
				keeps := func() bool { return false }
				a := s.join(run, "a", keeps)
				first := <-a.claims
				a.StopClaiming()
				b := s.join(run, "b", keeps)
				back := first.Requests[0]
				a.Deliver(courier.Delivery{Handout: first.Number, Returned: &courier.Returned{Record: back.Record, Digest: back.Digest}})
				second := <-b.claims
				time.Sleep(time.Second)
				kill()
				s.end(ended)
				_, ended, _ = s.coordinate()
				time.Sleep(time.Second)
				first.Requests = first.Requests[1:]
				a.answer(&first)
				time.Sleep(time.Minute) // b makes a long call
				b.answer(&second)
				if end := s.end(ended); end.err != nil || !end.outcome.Complete {
					t.Errorf("complete %v: %v", end.outcome.Complete, end.err)
				}
				a.Close(t.Context())
				b.Close(t.Context())
				if b.calls[back.Record] != 1 {
					t.Errorf("record %d was handed out to b %d times", back.Record, b.calls[back.Record])
				}
			})
		})
	}
}

// slowCaller answers each call after a while.
type slowCaller struct{ takes time.Duration }

func (c slowCaller) Call(context.Context, []byte) messages.Reply {
	time.Sleep(c.takes)
	return messages.Reply{
		Verdict: messages.Verdict{Kind: messages.Answered, Status: 200}, Message: resultOf(&jobs.Request{}).Message,
	}
}

func (slowCaller) Account() string { return "account" }
func (slowCaller) Close()          {}

// G3: answers of calls that were in flight when a run was told to stop are kept, also when Redis is away meanwhile.
func TestStopKeepsAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := setStage(t, dir, 10)
		run, ended, _ := s.coordinate()
		w, err := worker.Start(t.Context(), s.rdb, worker.Options{
			Caller: func(courier.Terms) (worker.Caller, error) { return slowCaller{10 * time.Second}, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if err := courier.Want(t.Context(), s.rdb, run.ID(), courier.Stop); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second) // the worker knows
		s.redis.SetError("ERR away")
		time.Sleep(15 * time.Second)
		s.redis.SetError("")
		end := s.end(ended)
		if done := end.outcome.Tally.Done(); end.err != nil || done != 10 || end.outcome.Unknown != 0 {
			t.Errorf("%d of 10 answers were kept, %d unknown: %v", done, end.outcome.Unknown, end.err)
		}
		w.Drain(t.Context())
	})
}
