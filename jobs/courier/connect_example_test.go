package courier_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/batchwright/batchwright/jobs/courier"
)

// A cluster that is reached by TLS, with an authority of one's own.
func ExampleConnect() {
	rdb, err := courier.Connect(courier.Address{
		URL:    "rediss+cluster://fleet:PASSWORD@redis-0.example:6379,redis-1.example:6379",
		CAFile: "/etc/batchwright/redis-ca.pem",
	})
	if err != nil {
		slog.Error("connect", slog.Any("error", err))
		return
	}
	defer rdb.Close()
	warnings, err := courier.Check(context.Background(), rdb)
	if err != nil {
		slog.Error("check", slog.Any("error", err))
		return
	}
	for _, warning := range warnings {
		slog.Warn("redis", slog.String("finding", warning))
	}
}

// What one process seals another opens with the same secret, for the same purpose.
func ExampleCipher() {
	coordinator, err := courier.NewCipher("32 random bytes are better")
	if err != nil {
		panic(err)
	}
	worker, err := courier.NewCipher("32 random bytes are better")
	if err != nil {
		panic(err)
	}
	sealed := coordinator.Seal([]byte("a prompt"), []byte("hand-out 7 of run r1"))
	plain, err := worker.Open(sealed, []byte("hand-out 7 of run r1"))
	fmt.Println(string(plain), err)
	_, err = worker.Open(sealed, []byte("hand-out 8 of run r1"))
	fmt.Println(err)
	// Output:
	// a prompt <nil>
	// encrypted with another key or damaged
}
