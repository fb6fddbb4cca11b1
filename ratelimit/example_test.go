package ratelimit_test

import (
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/ratelimit"
)

func ExampleOpen() {
	server, err := miniredis.Run()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()

	changed := make(chan struct{}, 1)
	limiter := ratelimit.Open(ratelimit.Options{
		Redis: client, Key: "limits:{my-key}", Worker: "worker-1",
		Changed: func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	defer limiter.Close()

	run := ratelimit.Run{ID: "my-run", Weight: 1}
	estimate := ratelimit.Cost{Requests: 1, Input: 1000, Output: 200}
	for {
		permit, _, _ := limiter.TryAdmit(run, estimate, 1)
		if permit == nil {
			<-changed
			continue
		}
		// The call is made here. What it used and what the service said is what the limiter learns from.
		permit.Settle(ratelimit.Outcome{
			Used: ratelimit.Cost{Requests: 1, Input: 950, Output: 40}, Answered: true, Latency: 800 * time.Millisecond,
		})
		break
	}
	fmt.Println(limiter.State().InFlight, "calls in flight")
	// Output: 0 calls in flight
}
