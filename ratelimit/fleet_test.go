package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/ratelimit"
)

// size is what a call is thought to cost in tokens, and costs.
type size struct{ estimate, real int64 }

// sizes draws the sizes of calls.
type sizes func(random *rand.Rand) size

func fixed(n int64) sizes { return func(*rand.Rand) size { return size{n, n} } }

// lognormal sizes are known before the call, like input.
func lognormal(median, sigma float64) sizes {
	return func(random *rand.Rand) size {
		n := int64(math.Ceil(median * math.Exp(sigma*random.NormFloat64())))
		return size{n, n}
	}
}

// guessed sizes are known by their mean before the call, like output.
func guessed(median, sigma float64) sizes {
	mean := int64(math.Ceil(median * math.Exp(sigma*sigma/2)))
	return func(random *rand.Rand) size {
		return size{mean, int64(math.Ceil(median * math.Exp(sigma*random.NormFloat64())))}
	}
}

// load is what a simulated worker calls for one run.
type load struct {
	run           ratelimit.Run
	slots         int // calls at once
	input, output sizes
	passed        *atomic.Int64 // tokens of the calls that passed; may be nil
	idle          *atomic.Bool  // while true nothing is called; may be nil
}

// fleet is workers that share one Redis, in one bubble of testing/synctest.
type fleet struct {
	t       *testing.T
	redis   *miniredis.Miniredis
	service *service
	workers []*simulated
	seed    uint64
}

// simulated is one worker.
type simulated struct {
	fleet   *fleet
	limiter *ratelimit.Limiter
	client  *redis.Client
	ctx     context.Context
	stop    context.CancelFunc
	calls   sync.WaitGroup
	cut     atomic.Bool // the network to Redis
	mu      sync.Mutex
	links   []net.Conn
	wake    []chan struct{}
}

func newFleet(t *testing.T, s *service) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: miniredis.NewMiniRedis(), service: s}
	f.redis.ClockTTL(true)
	return f
}

// work starts a worker that calls the service without end, as fast as the limiter lets it.
func (f *fleet) work(name string, loads ...load) *simulated {
	return f.workBy(ratelimit.Options{Key: "scope", Worker: name}, loads...)
}

func (f *fleet) workBy(o ratelimit.Options, loads ...load) *simulated {
	w := &simulated{fleet: f}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.client = redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", DisableIdentity: true, Protocol: 2, Dialer: w.dial})
	for range loads {
		w.wake = append(w.wake, make(chan struct{}, 1))
	}
	o.Redis, o.Changed = w.client, w.changed
	w.limiter = ratelimit.Open(o)
	for i, l := range loads {
		f.seed++
		random := rand.New(rand.NewPCG(f.seed, 1))
		w.calls.Go(func() { w.call(l, w.wake[i], random) })
	}
	f.workers = append(f.workers, w)
	return w
}

func (w *simulated) dial(context.Context, string, string) (net.Conn, error) {
	if w.cut.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("cut")}
	}
	link, err := w.fleet.redis.Dial()
	if err == nil {
		w.mu.Lock()
		w.links = append(w.links, link)
		w.mu.Unlock()
	}
	return link, err //nolint:wrapcheck // a dialer of the fake
}

// sever cuts the worker off from Redis until mend.
func (w *simulated) sever() {
	w.cut.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, link := range w.links {
		_ = link.Close()
	}
	w.links = nil
}

func (w *simulated) mend() { w.cut.Store(false) }

// changed wakes the loads: calls may start that could not.
func (w *simulated) changed() {
	for _, wake := range w.wake {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// call starts calls of one load as slots are free and the limiter admits them.
func (w *simulated) call(l load, wake <-chan struct{}, random *rand.Rand) {
	free := make(chan struct{}, l.slots)
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		select {
		case free <- struct{}{}:
		case <-w.ctx.Done():
			return
		}
		in, out := l.input(random), l.output(random)
		cost := ratelimit.Cost{Requests: 1, Input: in.estimate, Output: out.estimate}
		var permit *ratelimit.Permit
		for permit == nil {
			wait := time.Duration(0)
			if l.idle == nil || !l.idle.Load() {
				permit, _, wait = w.limiter.TryAdmit(l.run, cost, l.slots-len(free)+1)
			}
			if permit != nil {
				break
			}
			if wait == 0 {
				wait = 100 * time.Millisecond
			}
			alarm.Reset(wait)
			select {
			case <-w.ctx.Done():
				return
			case <-wake:
			case <-alarm.C:
			}
		}
		w.calls.Go(func() {
			o := w.fleet.service.call(w.ctx, in.real, out.real)
			permit.Settle(o)
			if l.passed != nil {
				l.passed.Add(o.Used.Input + o.Used.Output)
			}
			<-free
			w.changed()
		})
	}
}

// kill ends a worker without a word to Redis.
func (w *simulated) kill() {
	w.sever()
	w.end()
}

func (w *simulated) end() {
	w.stop()
	w.calls.Wait()
	w.limiter.Close()
	_ = w.client.Close()
}

// end ends all of it.
func (f *fleet) end() {
	var all sync.WaitGroup
	for _, w := range f.workers {
		all.Go(w.end)
	}
	all.Wait()
	time.Sleep(time.Second) // go-redis ends its goroutines a little later
	f.redis.Close()
}
