package worker

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker/messages"
)

// redisFake is a source of runs that a test makes and ends.
type redisFake struct {
	t      *testing.T
	worker *Worker

	mu       sync.Mutex
	all      map[string]*runFake
	sessions []*sessionFake
}

// runFake is a run that coordinators announce. Guarded by the source's mutex.
type runFake struct {
	id    string
	terms courier.Terms
	api   *api
	joins atomic.Int64
	now   *sessionFake // the latest that joined it
}

// sessionFake records what a worker does in a run.
type sessionFake struct {
	options courier.SessionOptions
	cutOff  atomic.Bool
	paused  atomic.Bool
	workers atomic.Int64
	over    chan struct{}
	stuck   chan struct{} // nil, or Flushed waits for it
	// delivered holds a token when something was delivered.
	delivered chan struct{}

	mu         sync.Mutex
	number     courier.Number
	log        []string // what happened, in order: "began 3", "result 3", "returned 3", "flushed", "refused", …
	deliveries []courier.Delivery
	refused    string
	claiming   bool
	closed     atomic.Bool
	serving    sync.WaitGroup
}

func (s *sessionFake) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *sessionFake) MayCall() bool         { return !s.cutOff.Load() && !s.paused.Load() }
func (s *sessionFake) Paused() bool          { return s.paused.Load() }
func (s *sessionFake) Workers() int          { return int(s.workers.Load()) }
func (s *sessionFake) Over() <-chan struct{} { return s.over }

func (s *sessionFake) Tell(news courier.News) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if news.Ended {
		s.note("ended %d", news.Record)
	} else {
		s.note("began %d", news.Record)
	}
}

func (s *sessionFake) Deliver(d courier.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Result != nil {
		s.note("result %d", d.Record())
	} else {
		s.note("returned %d", d.Record())
	}
	if s.closed.Load() {
		s.note("delivered after close %d", d.Record())
	}
	s.deliveries = append(s.deliveries, d)
	select {
	case s.delivered <- struct{}{}:
	default:
	}
}

func (s *sessionFake) Flushed(ctx context.Context) error {
	if s.stuck != nil {
		select {
		case <-s.stuck:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("flushed")
	return nil
}

func (s *sessionFake) Refuse(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused, s.claiming = why, false
	s.note("refused")
}

func (s *sessionFake) StopClaiming() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claiming = false
}

func (s *sessionFake) Close(context.Context) {
	s.serving.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
}

// why is what the worker refused the run for.
func (s *sessionFake) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// got lists what was delivered so far.
func (s *sessionFake) got() []courier.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deliveries)
}

func (s *sessionFake) story() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// hand gives requests to the worker, as a session does when it has claimed them: one hand-out after the other.
func (s *sessionFake) hand(alone bool, bodies ...[]byte) {
	h := courier.HandOut{Alone: alone}
	for _, body := range bodies {
		h.Requests = append(h.Requests, jobs.Request{Record: recordOf(body), Digest: jobs.DigestOf(body), Body: body})
	}
	s.handOut(h)
}

func (s *sessionFake) handOut(h courier.HandOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	h.Number = s.number
	s.serving.Go(func() { s.options.Serve(h) })
}

func recordOf(body []byte) int64 {
	var record int64
	if _, err := fmt.Sscanf(string(body), `{"model":"m","max_tokens":10,"id":"record-%d-"`, &record); err != nil {
		panic(err)
	}
	return record
}

func (f *redisFake) runs(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id := range f.all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

func (f *redisFake) join(_ context.Context, run string, o courier.SessionOptions) (session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.all[run]
	if r == nil {
		return nil, courier.ErrNoRun
	}
	r.joins.Add(1)
	if err := o.Accept(r.terms); err != nil {
		return nil, err
	}
	r.now = &sessionFake{options: o, over: make(chan struct{}), claiming: true, delivered: make(chan struct{}, 1)}
	r.now.workers.Store(1)
	f.sessions = append(f.sessions, r.now)
	o.Report()
	return r.now, nil
}

func (f *redisFake) epoch(_ context.Context, run string) (uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.all[run]; r != nil {
		return r.terms.Epoch, nil
	}
	return 0, courier.ErrNoRun
}

// announce adds a run whose calls the api answers; the worker finds it by itself.
func (f *redisFake) announce(id string, limits jobs.Limits, a *api) *runFake {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &runFake{id: id, api: a, terms: courier.Terms{BaseURL: "http://" + id, MaxAttempts: 8, Limits: limits, Epoch: 1}}
	f.all[id] = r
	return r
}

// session waits until the worker has joined a run as often as that and returns its part in it.
func (f *redisFake) session(r *runFake, joins int) *sessionFake {
	f.t.Helper()
	for range 100 {
		f.mu.Lock()
		joined, now := int(r.joins.Load()), r.now
		f.mu.Unlock()
		if joined >= joins {
			return now
		}
		time.Sleep(discoverEvery)
	}
	f.t.Fatalf("run %s was not joined", r.id)
	return nil
}

// serveFakes starts a worker for the runs of a fake source, inside a synctest bubble.
func serveFakes(t *testing.T, slots int) *redisFake {
	t.Helper()
	return serveFakesOn(t, slots, limitsRedis(t))
}

// limitsRedis starts a Redis for the limits, inside a synctest bubble.
func limitsRedis(t *testing.T) func() redis.UniversalClient {
	t.Helper()
	server := miniredis.NewMiniRedis()
	t.Cleanup(server.Close)
	return func() redis.UniversalClient {
		client := redis.NewClient(&redis.Options{
			Addr: "127.0.0.1:6379", DisableIdentity: true, Protocol: 2,
			Dialer: func(context.Context, string, string) (net.Conn, error) { return server.Dial() },
		})
		t.Cleanup(func() { client.Close() })
		return client
	}
}

// serveFakesOn is serveFakes beside other workers that share limits with this one.
func serveFakesOn(t *testing.T, slots int, limits func() redis.UniversalClient) *redisFake {
	t.Helper()
	f := &redisFake{t: t, all: make(map[string]*runFake)}
	w, err := startFrom(t.Context(), f, limits(), Options{Slots: slots, Caller: func(terms courier.Terms) (Caller, error) {
		for _, r := range f.all { // join holds the mutex
			if r.terms.BaseURL == terms.BaseURL && r.api != nil {
				return r.api, nil
			}
		}
		return nil, fmt.Errorf("%s: start the worker with --base-url to let it send its key there", terms.BaseURL)
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.random = func() float64 { return 1 }
	f.worker = w
	return f
}

// taking answers after a while.
func taking(d time.Duration) *api {
	return &api{answer: func(string) messages.Reply {
		<-time.After(d)
		return answered()
	}}
}

// using answers after a while, with so many tokens used.
func using(d time.Duration, tokens int) *api {
	return &api{answer: func(string) messages.Reply {
		<-time.After(d)
		return answeredWith(tokens)
	}}
}

func answeredWith(tokens int) messages.Reply {
	reply := answered()
	reply.Message = fmt.Appendf(nil, `{"type":"message","stop_reason":"end_turn","model":"m","content":[],`+
		`"usage":{"input_tokens":%d,"output_tokens":1}}`, tokens-1)
	return reply
}

// keepBusy hands records to a session for as long as it claims: always another hand-out while there is room.
func (s *sessionFake) keepBusy(size int) {
	s.serving.Go(func() {
		for record := 0; ; record += 16 {
			s.mu.Lock()
			claiming := s.claiming
			s.number++
			h := courier.HandOut{Number: s.number}
			s.mu.Unlock()
			if !claiming {
				return
			}
			for i := range 16 {
				b := body(record+i, size)
				h.Requests = append(h.Requests, jobs.Request{Record: int64(record + i), Digest: jobs.DigestOf(b), Body: b})
			}
			s.options.Serve(h)
		}
	})
}
