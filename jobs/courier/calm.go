package courier

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// calm is the client that a worker's Asynq server has. Asynq asks again at once when a script of its own fails, as each does
// on a Redis that is full: it would keep a core busy with that. Here each failure takes a while.
type calm struct {
	redis.UniversalClient
	stopping context.Context // bounds the wait
	pause    time.Duration
}

// EvalSha runs a script that Redis knows.
func (c calm) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return c.settle(ctx, c.UniversalClient.EvalSha(ctx, sha, keys, args...))
}

// Eval runs a script.
func (c calm) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return c.settle(ctx, c.UniversalClient.Eval(ctx, script, keys, args...))
}

// settle waits after a failure. That there is nothing, or that Redis does not know the script yet, is none.
func (c calm) settle(ctx context.Context, cmd *redis.Cmd) *redis.Cmd {
	if err := cmd.Err(); err == nil || errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") {
		return cmd
	}
	select {
	case <-time.After(c.pause):
	case <-ctx.Done():
	case <-c.stopping.Done():
	}
	return cmd
}
