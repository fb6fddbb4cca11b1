package worker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier"
)

// session is a worker's part in one run, as courier.Session has it.
type session interface {
	MayCall() bool
	Began(n courier.Number, record int64)
	Deliver(d courier.Delivery)
	Flushed(ctx context.Context) error
	Refuse(why string)
	Workers() int
	StopClaiming()
	Over() <-chan struct{}
	Close(ctx context.Context)
}

// joinOptions are what a worker brings to a run that it joins.
type joinOptions struct {
	worker string
	poll   time.Duration
	accept func(courier.Terms) error
	serve  func(h courier.HandOut, alone bool)
}

// source is where a worker finds runs; courier over Redis outside of tests.
type source interface {
	// runs lists the ids of the runs that have a coordinator.
	runs(ctx context.Context) ([]string, error)
	// join begins to serve a run; accept sees its terms before anything is claimed.
	join(ctx context.Context, run string, o joinOptions) (session, error)
}

// onRedis is the source that courier makes of a Redis.
type onRedis struct{ rdb redis.UniversalClient }

func (o onRedis) runs(context.Context) ([]string, error) { return nil, nil }

func (o onRedis) join(ctx context.Context, run string, options joinOptions) (session, error) {
	accepted := make(chan struct{})
	s, err := courier.Join(ctx, o.rdb, run, courier.SessionOptions{
		Worker: options.worker, Poll: options.poll,
		Serve: func(h courier.HandOut) {
			<-accepted
			options.serve(h, false)
		},
	})
	if err != nil {
		return nil, err
	}
	if err := options.accept(s.Terms()); err != nil {
		s.StopClaiming()
		close(accepted)
		s.Close(ctx)
		return nil, err
	}
	close(accepted)
	return onePart{s}, nil
}

// onePart is a session of the only worker of a run.
type onePart struct{ *courier.Session }

func (onePart) Began(courier.Number, int64)   {}
func (onePart) Flushed(context.Context) error { return nil }
func (onePart) Refuse(string)                 {}
func (onePart) Workers() int                  { return 1 }
func (onePart) Over() <-chan struct{}         { return nil }
