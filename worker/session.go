package worker

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier"
)

// session is a worker's part in one run, as courier.Session has it.
type session interface {
	MayCall() bool
	Paused() bool
	Over() <-chan struct{}
	Tell(news courier.News)
	Deliver(d courier.Delivery)
	Flushed(ctx context.Context) error
	Refuse(why string)
	StopClaiming()
	Close(ctx context.Context)
}

// source is where a worker finds runs: a Redis.
type source interface {
	// runs lists the ids of the runs that coordinators have announced.
	runs(ctx context.Context) ([]string, error)
	// join begins to serve a run.
	join(ctx context.Context, run string, o courier.SessionOptions) (session, error)
	// epoch is that of a run's coordinator.
	epoch(ctx context.Context, run string) (uint32, error)
}

// onRedis finds runs as courier keeps them.
type onRedis struct{ rdb redis.UniversalClient }

func (o onRedis) runs(ctx context.Context) ([]string, error) {
	return courier.Runs(ctx, o.rdb) //nolint:wrapcheck // it says what could not be done
}

func (o onRedis) join(ctx context.Context, run string, options courier.SessionOptions) (session, error) {
	s, err := courier.Join(ctx, o.rdb, run, options)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (o onRedis) epoch(ctx context.Context, run string) (uint32, error) {
	terms, err := courier.ReadTerms(ctx, o.rdb, run)
	return terms.Epoch, err
}
