package main

import (
	"context"
	"fmt"
	"os"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
	"github.com/batchwright/batchwright/worker/simulator"
)

// endpoint is where a job's calls go: the API, or a simulator in this process.
type endpoint struct {
	baseURL   string
	client    *messages.Client
	slots     int // calls at once
	simulator *simulator.Server
}

// openEndpoint makes the client for a job's calls. A missing credential is a usage error that names its variable.
func openEndpoint(ctx context.Context, job *jobs.Job, simulate bool, options simulator.Options) (*endpoint, error) {
	e := &endpoint{baseURL: baseURL(job), slots: job.Limits.Concurrency}
	if e.slots == 0 {
		e.slots = worker.DefaultConcurrency
	}
	var secret messages.Secret
	var err error
	if simulate {
		options.AnyModel = true
		if e.simulator, err = simulator.Listen(ctx, "127.0.0.1:0", options); err != nil {
			return nil, usageError(err)
		}
		e.baseURL, secret = e.simulator.URL, messages.NewSecret("simulated")
	} else if secret, err = messages.ReadSecret(os.Getenv, job.API.KeyEnv); err != nil {
		return nil, usageError(err)
	}
	e.client, err = messages.New(messages.Options{
		BaseURL: e.baseURL, Version: job.API.Version, Beta: job.API.Beta, Stream: job.API.Stream,
		Timeout: job.API.Timeout, Secret: secret, MaxConns: e.slots, UserAgent: "batchwright/" + version(),
	})
	if err != nil {
		e.close()
		return nil, usageError(fmt.Errorf("prepare calls: %w", err))
	}
	return e, nil
}

// caller makes the calls of the only run that this process serves.
func (e *endpoint) caller(courier.Terms) (worker.Caller, error) { return e.client, nil }

func (e *endpoint) close() {
	if e.client != nil {
		e.client.Close()
	}
	if e.simulator != nil {
		_ = e.simulator.Close() // its clients are gone
	}
}
