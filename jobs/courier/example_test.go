package courier_test

import (
	"context"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// One hand-out on its way: from the owner of a run to a worker, and its result back.
func Example() {
	ctx := context.Background()
	redis := courier.StartEmbedded()
	defer redis.Close()
	owner, err := courier.Own(ctx, redis.Client(), "run-1", 0, courier.OwnerOptions{Terms: courier.Terms{MaxAttempts: 8}})
	if err != nil {
		panic(err)
	}
	claimed := make(chan courier.HandOut, 1)
	session, err := courier.Join(ctx, redis.Client(), "run-1", courier.SessionOptions{
		Worker: "worker-1", Poll: 10 * time.Millisecond, Serve: func(h courier.HandOut) { claimed <- h },
	})
	if err != nil {
		panic(err)
	}
	request := jobs.Request{Record: 0, Body: []byte(`{"model":"m"}`)}
	request.Digest = jobs.DigestOf(request.Body)
	if err := owner.HandOut(ctx, owner.Next(), []jobs.Request{request}, courier.New); err != nil {
		panic(err)
	}

	handout := <-claimed
	session.Deliver(courier.Delivery{
		Handout: handout.Number,
		Result:  &jobs.Result{Record: handout.Requests[0].Record, Status: jobs.Succeeded},
	})

	var batch courier.Batch
	for batch.Empty() {
		if batch, err = owner.Read(ctx, time.Second); err != nil {
			panic(err)
		}
	}
	fmt.Println("record", batch.Deliveries[0].Record(), batch.Deliveries[0].Result.Status)
	session.Close(ctx)
	if err := owner.Ack(ctx, &batch, []courier.Number{handout.Number}); err != nil {
		panic(err)
	}
	if err := owner.Close(ctx); err != nil {
		panic(err)
	}
	// Output: record 0 succeeded
}
