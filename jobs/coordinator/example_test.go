package coordinator_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
	"github.com/batchwright/batchwright/worker/simulator"
)

// A whole run in one process: coordinator, worker, Redis, and a simulated API.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	input := `{"id":"a","text":"Where is my card?"}` + "\n" + `{"id":"b","text":"I was charged twice."}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "in.jsonl"), []byte(input), 0o600); err != nil {
		panic(err)
	}
	job, err := jobs.New(jobs.Options{
		Input: []string{filepath.Join(dir, "in.jsonl")}, Output: filepath.Join(dir, "out.jsonl"),
		Model: "claude-haiku-4-5-20251001", MaxTokens: 100, Prompt: "Answer the customer: {{.text}}",
	})
	if err != nil {
		panic(err)
	}
	api, err := simulator.Listen(ctx, "127.0.0.1:0", simulator.Options{})
	if err != nil {
		panic(err)
	}
	defer api.Close()
	client, err := messages.New(messages.Options{BaseURL: api.URL, Secret: messages.NewSecret("any")})
	if err != nil {
		panic(err)
	}
	defer client.Close()

	state := coordinator.StateOf(filepath.Join(dir, ".batchwright"), job.Name, false)
	lock, err := state.Lock()
	if err != nil {
		panic(err)
	}
	defer lock.Unlock()
	run, err := coordinator.Prepare(ctx, coordinator.Options{Job: job, State: state, BaseURL: api.URL, Window: 100})
	if err != nil {
		panic(err)
	}
	redis := courier.StartEmbedded()
	defer redis.Close()
	if err := run.Own(ctx, redis.Client(), coordinator.OwnOptions{Embedded: true}); err != nil {
		panic(err)
	}
	calls, err := worker.Start(ctx, redis.Client(), worker.Options{
		Only: run.ID(), Poll: 10 * time.Millisecond,
		Caller: func(courier.Terms) (worker.Caller, error) { return client, nil },
	})
	if err != nil {
		panic(err)
	}
	outcome, err := run.Execute(ctx)
	calls.Drain(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("complete:", outcome.Complete, "succeeded:", outcome.Tally.Succeeded, "calls:", outcome.Tally.Calls)
	// Output: complete: true succeeded: 2 calls: 2
}
