package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	fleetLatency = 200 * time.Millisecond
	fleetCalls   = 64 // at once, of each worker
)

// redisProcess is a running redis-server, empty at its start.
type redisProcess struct {
	url     string
	client  *redis.Client
	command *exec.Cmd
}

// startRedis starts a redis-server from the PATH.
func (b *bench) startRedis(ctx context.Context) (*redisProcess, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	_, port, _ := strings.Cut(address, ":")
	//nolint:gosec // the system's own server
	command := exec.CommandContext(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", b.scratch,
		"--maxmemory-policy", "noeviction")
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server (install it for this measurement): %w", err)
	}
	r := &redisProcess{url: "redis://" + address, client: redis.NewClient(&redis.Options{Addr: address}), command: command}
	for r.client.Ping(ctx).Err() != nil {
		select {
		case <-ctx.Done():
			r.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return r, nil
}

func (r *redisProcess) stop() {
	_ = r.client.Close()
	_ = r.command.Process.Kill()
	_ = r.command.Wait()
}

// number reads one number of INFO.
func (r *redisProcess) number(ctx context.Context, name string) (float64, error) {
	text, err := r.client.Info(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("ask redis: %w", err)
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), name+":"); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("redis says nothing of %s", name)
}

// fleet is a Redis, a simulator and workers.
type fleet struct {
	redis   *redisProcess
	sim     *simulatorProcess
	workers []*exec.Cmd
	bench   *bench
}

func (b *bench) startFleet(ctx context.Context, workers, calls int) (*fleet, error) {
	f := &fleet{bench: b}
	var err error
	if f.redis, err = b.startRedis(ctx); err != nil {
		return nil, err
	}
	if f.sim, err = b.startSimulator(ctx, "--latency", fleetLatency.String()); err != nil {
		f.redis.stop()
		return nil, err
	}
	for range workers {
		if err := f.addWorker(ctx, calls); err != nil {
			f.stop()
			return nil, err
		}
	}
	return f, nil
}

func (f *fleet) environment() []string {
	return append(os.Environ(), "ANTHROPIC_BASE_URL="+f.sim.url, "ANTHROPIC_API_KEY="+credential, "BATCHWRIGHT_STATE=",
		"BATCHWRIGHT_REDIS="+f.redis.url)
}

func (f *fleet) addWorker(ctx context.Context, calls int) error {
	command := exec.CommandContext(ctx, f.bench.binary, "worker", "--concurrency", strconv.Itoa(calls)) //nolint:gosec // the program to measure
	command.Env = f.environment()
	if err := command.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	f.workers = append(f.workers, command)
	return nil
}

// job is the command that runs the job in a folder over the fleet.
func (f *fleet) job(ctx context.Context, folder string) *exec.Cmd {
	//nolint:gosec // the program to measure
	command := exec.CommandContext(ctx, f.bench.binary, "run", filepath.Join(folder, "job.yaml"), "--no-worker", "--quiet", "--yes",
		"--set", "limits.concurrency=100000")
	command.Env = f.environment()
	return command
}

func (f *fleet) stop() {
	for _, worker := range f.workers {
		_ = worker.Process.Kill()
		_ = worker.Wait()
	}
	f.sim.stop()
	f.redis.stop()
}

// scaling holds the rows/s of more workers against those of one.
func scaling(ctx context.Context, b *bench) ([]figure, error) {
	var figures []figure
	var one float64
	for _, workers := range []int{1, 2, 4} {
		records := 100 * fleetCalls * workers // 100 rounds: 20 s
		folder, err := b.makeJob(records)
		if err != nil {
			return nil, err
		}
		var rates []float64
		for range 3 {
			rate, err := b.scaled(ctx, folder, workers, records)
			if err != nil {
				return nil, err
			}
			rates = append(rates, rate)
		}
		rate := median(rates)
		if workers == 1 {
			one = rate
			continue
		}
		share := rate / (one * float64(workers))
		figures = append(figures, figure{
			measure: fmt.Sprintf("rows/s of %d workers ÷ %d × those of one (200 ms latency, 64 calls each, median of 3)", workers, workers),
			value:   fmt.Sprintf("%.2f (%.0f/s ÷ %d × %.0f/s)", share, rate, workers, one),
			goal:    "≥ 0.95", met: share >= 0.95,
		})
	}
	return figures, nil
}

func (b *bench) scaled(ctx context.Context, folder string, workers, records int) (float64, error) {
	f, err := b.startFleet(ctx, workers, fleetCalls)
	if err != nil {
		return 0, err
	}
	defer f.stop()
	ran, err := timed(f.job(ctx, folder), folder)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(os.Stderr, "  %d workers: %.0f/s\n", workers, float64(records)/ran.took.Seconds())
	return float64(records) / ran.took.Seconds(), os.RemoveAll(filepath.Join(folder, ".batchwright"))
}

// load looks at Redis while a job of ten thousand and one of a million records are on: its memory must not depend on
// what is to do, and it must not be asked much for each record.
func load(ctx context.Context, b *bench) ([]figure, error) {
	var peaks []float64
	var commands, rate float64
	for _, records := range []int{10_000, 1_000_000} {
		folder, err := b.makeJob(records)
		if err != nil {
			return nil, err
		}
		seen, err := b.watched(ctx, folder)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "  %d records: %.2f MB in redis, %.3f commands a record, %.0f/s\n", records, seen.bytes/1e6,
			seen.commands, seen.rate)
		peaks = append(peaks, seen.bytes)
		commands, rate = seen.commands, seen.rate
	}
	growth := peaks[1] / peaks[0]
	return []figure{
		{
			measure: "memory of Redis with 1,000,000 records to do ÷ with 10,000 (highest of the first 4 s, less that of an empty Redis)",
			value:   fmt.Sprintf("%.2f (%.2f MB ÷ %.2f MB)", growth, peaks[1]/1e6, peaks[0]/1e6),
			goal:    "0.80 to 1.20", met: growth >= 0.8 && growth <= 1.2,
		},
		{
			measure: fmt.Sprintf("Redis commands a record at %.0f results/s", rate),
			value:   fmt.Sprintf("%.3f", commands), goal: "≤ 0.5", met: commands <= 0.5 && rate > 1000,
		},
	}, nil
}

// sight is what was seen of Redis during a run.
type sight struct {
	bytes    float64 // at most, above an empty Redis
	commands float64 // a record
	rate     float64 // results a second
}

// watched runs a job for a while and looks at its Redis.
func (b *bench) watched(ctx context.Context, folder string) (sight, error) {
	var seen sight
	f, err := b.startFleet(ctx, 2, 4*fleetCalls)
	if err != nil {
		return seen, err
	}
	defer f.stop()
	empty, err := f.redis.number(ctx, "used_memory")
	if err != nil {
		return seen, err
	}
	command := f.job(ctx, folder)
	var said bytes.Buffer
	command.Stderr = &said
	if err := command.Start(); err != nil {
		return seen, fmt.Errorf("start run: %w", err)
	}
	defer os.RemoveAll(filepath.Join(folder, ".batchwright")) //nolint:errcheck // in the scratch folder
	defer command.Wait()                                      //nolint:errcheck // it is stopped before its end
	defer command.Process.Signal(syscall.SIGKILL)             //nolint:errcheck // it may have ended
	commandsAt, answeredAt, at := make([]float64, 2), make([]float64, 2), make([]time.Time, 2)
	began := time.Now()
	for i := range 2 {
		// After one second and a half the run is at its speed.
		until := began.Add([]time.Duration{time.Second * 3 / 2, time.Second * 4}[i])
		for time.Now().Before(until) {
			used, err := f.redis.number(ctx, "used_memory")
			if err != nil {
				return seen, err
			}
			seen.bytes = max(seen.bytes, used-empty)
			commandsAt[1]-- // this very command
			select {
			case <-ctx.Done():
				return seen, ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
		asked, err := f.redis.number(ctx, "total_commands_processed")
		if err != nil {
			return seen, err
		}
		answered, err := f.sim.answered(ctx)
		if err != nil {
			return seen, err
		}
		if i == 0 {
			commandsAt[1] = 0
		}
		commandsAt[i] += asked
		answeredAt[i], at[i] = answered, time.Now()
	}
	seen.rate = (answeredAt[1] - answeredAt[0]) / at[1].Sub(at[0]).Seconds()
	if seen.rate == 0 {
		return seen, errors.Join(errors.New("no call was answered"), errors.New(said.String()))
	}
	seen.commands = (commandsAt[1] - commandsAt[0]) / (answeredAt[1] - answeredAt[0])
	return seen, nil
}

// recovery kills workers and times until their records are handed out again.
func recovery(ctx context.Context, b *bench) ([]figure, error) {
	const tries = 10
	folder, err := b.makeJob(1_000_000)
	if err != nil {
		return nil, err
	}
	f, err := b.startFleet(ctx, 2, fleetCalls)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	command := f.job(ctx, folder)
	pipe, err := command.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	defer command.Wait()                          //nolint:errcheck // it is stopped before its end
	defer command.Process.Signal(syscall.SIGKILL) //nolint:errcheck // it may have ended
	again := watchFor(pipe, "handing out again")
	var times []float64
	for n := range tries {
		if err := pause(ctx, 4*time.Second); err != nil { // the worker has work again
			return nil, err
		}
		victim := f.workers[0]
		killed := time.Now()
		_ = victim.Process.Kill()
		_ = victim.Wait()
		f.workers = f.workers[1:]
		if err := f.addWorker(ctx, fleetCalls); err != nil {
			return nil, err
		}
		select {
		case at := <-again:
			times = append(times, at.Sub(killed).Seconds())
			fmt.Fprintf(os.Stderr, "  kill %d: %.1f s\n", n+1, times[n])
		case <-time.After(time.Minute):
			return nil, errors.New("a killed worker's records were not handed out again within a minute")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	worst := slices.Max(times)
	return []figure{{
		measure: fmt.Sprintf("a worker killed: time until its records are handed out again (%d kills)", tries),
		value:   fmt.Sprintf("median %.1f s, worst %.1f s", median(times), worst), goal: "≤ 15 s", met: worst <= 15,
	}}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
