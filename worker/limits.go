package worker

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// scopes are the limits of keys that this worker shares with the fleet: one limiter for each base URL, credential and
// class of models, however many runs use it.
type scopes struct {
	rdb     redis.UniversalClient
	worker  string
	changed func() // calls that were refused may start now

	mu   sync.Mutex
	open map[string]*scope
}

// scope is one limiter and how many runs use it.
type scope struct {
	id      string
	limiter *ratelimit.Limiter
	runs    int
}

// enter takes part in a scope for one more run.
func (s *scopes) enter(id, label string) *scope {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.open[id]
	if found == nil {
		found = &scope{id: id, limiter: s.limiter(courier.ScopeKey(id), label, nil, 0)}
		s.open[id] = found
	}
	found.runs++
	return found
}

// leave ends a run's part in a scope.
func (s *scopes) leave(left *scope) {
	s.mu.Lock()
	left.runs--
	last := left.runs == 0
	if last {
		delete(s.open, left.id)
	}
	s.mu.Unlock()
	if last {
		left.limiter.Close()
	}
}

func (s *scopes) limiter(key, label string, bounds *ratelimit.Limits, version int64) *ratelimit.Limiter {
	return ratelimit.Open(ratelimit.Options{
		Redis: s.rdb, Key: key, Label: label, Worker: s.worker, Bounds: bounds, BoundsVersion: version, Changed: s.changed,
		Warn: func(err error) {
			slog.Warn("no call starts without the shared limits", slog.String("limits", label), slog.Any("error", err))
		},
	})
}

// mostClasses bounds the limiters of a run whose requests name ever other models.
const mostClasses = 32

// limits are those that a run's calls keep: of the key, by class of models, and the job's own.
type limits struct {
	all     *scopes
	account string
	own     *ratelimit.Limiter // nil when the job has none

	mu      sync.Mutex
	byClass map[string]*scope
}

// newLimits takes part in a job's own limits, over all workers.
func newLimits(all *scopes, run, account string, terms courier.Terms) *limits {
	l := &limits{all: all, account: account, byClass: make(map[string]*scope)}
	own := ratelimit.Limits{
		Concurrency: terms.Limits.Concurrency, RequestsPerMinute: terms.Limits.RequestsPerMinute,
		InputTokensPerMinute: terms.Limits.InputTokensPerMinute, OutputTokensPerMinute: terms.Limits.OutputTokensPerMinute,
	}
	if own.Any() {
		l.own = all.limiter(courier.LimitsKey(run), "the job", &own, int64(terms.Epoch))
	}
	return l
}

// of returns the limits of the key for a model.
func (l *limits) of(model string) *ratelimit.Limiter {
	class := messages.ModelClass(model)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.byClass[class]
	if s == nil && len(l.byClass) >= mostClasses {
		class = "others"
		s = l.byClass[class]
	}
	if s == nil {
		s = l.all.enter(l.account+":"+class, class)
		l.byClass[class] = s
	}
	return s.limiter
}

// states says what the limits are, and what binds now.
func (l *limits) states() []ratelimit.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	var states []ratelimit.State
	if l.own != nil {
		states = append(states, l.own.State())
	}
	for _, s := range l.byClass {
		states = append(states, s.limiter.State())
	}
	return states
}

// close ends the run's part in all of them.
func (l *limits) close() {
	l.mu.Lock()
	byClass := l.byClass
	l.byClass = make(map[string]*scope)
	l.mu.Unlock()
	for _, s := range byClass {
		l.all.leave(s)
	}
	if l.own != nil {
		l.own.Close()
	}
}

// permits are what one call needs: of the key's limits, and of the job's own.
type permits struct {
	key, own *ratelimit.Permit // own is nil when the job has no limits
}

// settle ends a call that was made.
func (p *permits) settle(o ratelimit.Outcome) {
	p.key.Settle(o)
	if p.own != nil {
		p.own.Settle(ratelimit.Outcome{Used: o.Used})
	}
}

// release gives back what no call was made with. It does nothing after settle.
func (p *permits) release() {
	p.key.Release()
	if p.own != nil {
		p.own.Release()
	}
}

// asking is who asks the limits for a call.
func (r *run) asking() ratelimit.Run {
	return ratelimit.Run{ID: r.id, Weight: r.lane.weight, Headroom: r.terms.Limits.Headroom.At(time.Now())}
}

// admit starts a call for a record as far as limits go, or says how long they forbid it; 0 when nobody knows. ready is how
// many such calls could start.
func (r *run) admit(rec *record, ready int) (*permits, ratelimit.Cost, time.Duration) {
	cost := r.estimate(rec)
	var p permits
	var wait time.Duration
	if r.limits.own != nil {
		if p.own, _, wait = r.limits.own.TryAdmit(r.asking(), cost, ready); p.own == nil {
			return nil, cost, wait
		}
	}
	if p.key, _, wait = rec.limiter.TryAdmit(r.asking(), cost, ready); p.key == nil {
		if p.own != nil {
			p.own.Release()
		}
		return nil, cost, wait
	}
	return &p, cost, 0
}

// await waits until a call may start, ahead of the calls of the schedule.
func (r *run) await(ctx context.Context, key *ratelimit.Limiter, cost ratelimit.Cost) (*permits, error) {
	var p permits
	var err error
	if r.limits.own != nil {
		if p.own, err = r.limits.own.Admit(ctx, r.asking(), cost); err != nil {
			return nil, err //nolint:wrapcheck // it says what was waited for
		}
	}
	if p.key, err = key.Admit(ctx, r.asking(), cost); err != nil {
		if p.own != nil {
			p.own.Release()
		}
		return nil, err //nolint:wrapcheck // the same
	}
	return &p, nil
}

// outcomeOf is what a call says of the limits.
func outcomeOf(reply *messages.Reply, used ratelimit.Cost) ratelimit.Outcome {
	o := ratelimit.Outcome{Used: used, Latency: reply.Latency, Answered: reply.Kind == messages.Answered}
	switch reply.Pressure {
	case messages.NoPressure:
	case messages.Limited:
		o.Refused, o.Limit = true, limitKinds[reply.Limit]
	case messages.Ramping:
		o.Ramped = true
	case messages.Overloaded:
		o.Overloaded = true
	}
	said := messages.ParseRateLimits(reply.Header, time.Now())
	for kind, w := range []messages.Window{said.Requests, said.InputTokens, said.OutputTokens, said.Tokens} {
		o.Windows[kind] = ratelimit.Window{Limit: float64(w.Limit), Left: float64(w.Remaining), HasLeft: w.HasRemaining}
	}
	return o
}

var limitKinds = map[messages.Limit]ratelimit.Kind{
	messages.LimitUnknown: ratelimit.Requests, messages.LimitRequests: ratelimit.Requests, messages.LimitInput: ratelimit.Input,
	messages.LimitOutput: ratelimit.Output, messages.LimitTokens: ratelimit.Tokens,
}

// weightOf is a run's weight; what comes through Redis may be any number.
func weightOf(terms courier.Terms) float64 {
	return min(max(cmp.Or(terms.Limits.Weight, 1), jobs.MinWeight), jobs.MaxWeight)
}
