package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/worker/simulator"
)

func TestSimulateServesUntilInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	var said bytes.Buffer
	command := newSimulateCommand()
	command.SetContext(ctx)
	command.SetOut(write)
	command.SetErr(&said)
	command.SetArgs([]string{"--addr", "127.0.0.1:0", "--key", "right", "--record"})
	ended := make(chan error, 1)
	go func() {
		defer write.Close()
		ended <- command.ExecuteContext(ctx)
	}()
	url, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSpace(url)+"/v1/messages",
		strings.NewReader(`{"model":"claude-haiku-4-5","max_tokens":10,"messages":[{"role":"user","content":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	call.Header.Set("Authorization", "Bearer right")
	call.Header.Set("Anthropic-Version", "2023-06-01")
	call.Close = true
	response, err := http.DefaultClient.Do(call)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("got %s", response.Status)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	_, counts, found := strings.Cut(said.String(), "Ctrl-C ends it.\n")
	var stats simulator.Stats
	if err := json.Unmarshal([]byte(counts), &stats); !found || err != nil || stats.Answered != 1 {
		t.Errorf("%v: the end says %q", err, said.String())
	}
}

func TestSimulatorFlags(t *testing.T) {
	t.Parallel()
	var got simulator.Options
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	addSimulatorFlags(flags, &got, "sim-")
	err := flags.Parse([]string{
		"--sim-latency=800ms", "--sim-latency-sigma=0.6", "--sim-token-time=10ms", "--sim-slow=2%", "--sim-slow-factor=20", "--sim-hang=0.1%",
		"--sim-requests-per-minute=1", "--sim-input-tokens-per-minute=2", "--sim-output-tokens-per-minute=3", "--sim-burst=1m", "--sim-ramp=5m",
		"--sim-limit-headers=jump", "--sim-parallel=6",
		"--sim-errors=529=1%", "--sim-deterministic=500=0.1%", "--sim-outage=30s@2m", "--sim-spend-cap=7", "--sim-spend-cap-status=400",
		"--sim-refuse=3%", "--sim-truncate=4%", "--sim-answer-tokens=9", "--sim-key=k", "--sim-any-model", "--sim-seed=5",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := simulator.Options{
		Latency: 800 * time.Millisecond, LatencySigma: 0.6, TokenTime: 10 * time.Millisecond, Slow: 0.02, SlowFactor: 20, Hang: 0.001,
		RequestsPerMinute: 1, InputTokensPerMinute: 2, OutputTokensPerMinute: 3, Burst: time.Minute, Ramp: 5 * time.Minute,
		LimitHeaders: simulator.LimitHeadersJump, Parallel: 6,
		Errors: simulator.Faults{{Kind: "529", Share: 0.01}}, Deterministic: simulator.Faults{{Kind: "500", Share: 0.001}},
		Outages:  simulator.Outages{{After: 2 * time.Minute, For: 30 * time.Second, Kind: "529"}},
		SpendCap: 7, SpendCapStatus: 400, Refuse: 0.03, Truncate: 0.04, AnswerTokens: 9, Key: "k", AnyModel: true, Seed: 5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	flags.VisitAll(func(flag *pflag.Flag) {
		if !strings.HasPrefix(flag.Name, "sim-") || flag.Usage == "" {
			t.Errorf("flag %s: %q", flag.Name, flag.Usage)
		}
	})
}
