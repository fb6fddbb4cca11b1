package courier

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// A queue whose every read fails, as on a full Redis, is not asked without a pause.
func TestCalm(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	rdb, ctx := server.Client, t.Context()
	owner := takeOver(t, rdb, 0, Terms{})
	defer owner.Close(ctx)
	for _, key := range []string{"asynq:{r1}:pending", "asynq:{r1}again}:pending"} {
		if err := rdb.Set(ctx, key, "no list", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	commands := func() int64 {
		t.Helper()
		_, after, _ := strings.Cut(rdb.Info(ctx, "stats").Val(), "total_commands_processed:")
		text, _, _ := strings.Cut(after, "\r\n")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	session, err := Join(ctx, rdb, "r1", SessionOptions{Worker: "w1", Serve: func(HandOut) {}})
	if err != nil {
		t.Fatal(err)
	}
	before := commands()
	<-time.After(2 * time.Second)
	// Four reads a second, each of some commands; without the pause 20,000 and more.
	if n := commands() - before; n > 2000 || n < 4 {
		t.Errorf("%d commands in 2 s", n)
	}
	session.Close(ctx)
}
