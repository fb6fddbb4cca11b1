package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

// stopGrace bounds how long a process may take to end when it is asked to; then it is killed.
const stopGrace = 10 * time.Second

// child is a process of a fleet. It writes to a log in the job's folder.
type child struct {
	log   string
	stop  context.CancelFunc // asks it to end
	ended chan struct{}
	err   error // of its end; read it after ended is closed
}

// startChild starts the program to measure.
func (f *limitsFleet) startChild(ctx context.Context, name string, args ...string) (*child, error) {
	c := &child{log: filepath.Join(f.folder, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	ctx, c.stop = context.WithCancel(ctx)
	command := exec.CommandContext(ctx, f.binary, args...) //nolint:gosec // the program to measure
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopGrace
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), "ANTHROPIC_BASE_URL="+f.api.URL, "ANTHROPIC_API_KEY="+credential, "BATCHWRIGHT_STATE=",
		"BATCHWRIGHT_REDIS="+f.redis.url)
	if err := command.Start(); err != nil {
		c.stop()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(c.ended)
		c.err = command.Wait()
	}()
	return c, nil
}

// endedEarly is the error of a process that should have gone on.
func (c *child) endedEarly() error {
	text, _ := os.ReadFile(c.log)
	const most = 2000
	text = bytes.TrimSpace(text[max(0, len(text)-most):])
	return fmt.Errorf("%s ended early: %w\n%s", strings.TrimSuffix(filepath.Base(c.log), ".log"), errors.Join(c.err, errors.New("its last words")), text)
}

// limitsFleet is a simulator within this process, a Redis, workers and the coordinator of a job.
type limitsFleet struct {
	binary, folder string
	redis          *redisProcess
	api            *simulator.Server
	workers        []*child
	run            *child
}

// startLimitsFleet starts a job whose input is in the folder.
func (b *bench) startLimitsFleet(ctx context.Context, folder string, api simulator.Options, workers, slots int) (_ *limitsFleet, err error) {
	f := &limitsFleet{binary: b.binary, folder: folder}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.stop())
		}
	}()
	if err := os.WriteFile(filepath.Join(folder, "job.yaml"), []byte(limitsJob), 0o600); err != nil {
		return nil, fmt.Errorf("write job file: %w", err)
	}
	if f.redis, err = b.startRedis(ctx); err != nil {
		return nil, err
	}
	if f.api, err = simulator.Listen(ctx, "127.0.0.1:0", api); err != nil {
		return nil, err
	}
	for i := range workers {
		worker, err := f.startChild(ctx, fmt.Sprintf("worker%d", i), "worker", "--concurrency", strconv.Itoa(slots), "--grace", "5s")
		if err != nil {
			return nil, err
		}
		f.workers = append(f.workers, worker)
	}
	f.run, err = f.startChild(ctx, "run", "run", filepath.Join(folder, "job.yaml"), "--no-worker", "--quiet", "--yes")
	return f, err
}

// stop ends all of it.
func (f *limitsFleet) stop() error {
	children := f.workers
	if f.run != nil {
		children = append(children, f.run)
	}
	for _, c := range children {
		c.stop()
	}
	for _, c := range children {
		<-c.ended
	}
	if f.redis != nil {
		f.redis.stop()
	}
	if f.api != nil {
		return f.api.Close()
	}
	return nil
}

// firstCall waits for it.
func (f *limitsFleet) firstCall(ctx context.Context) error {
	deadline := time.After(time.Minute)
	for f.api.Stats().Calls == 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-f.run.ended:
			return f.run.endedEarly()
		case <-deadline:
			return errors.New("no call within a minute")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// exchanges is how often workers have asked a Redis for their part of the limits: of all that batchwright does, their script
// alone persists a key.
func (r *redisProcess) exchanges(ctx context.Context) (float64, error) {
	text, err := r.client.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, fmt.Errorf("ask redis: %w", err)
	}
	return callsOf(text, "persist"), nil
}

// callsOf reads how often a command was called from INFO commandstats.
func callsOf(stats, command string) float64 {
	for line := range strings.Lines(stats) {
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), "cmdstat_"+command+":calls="); found {
			count, _, _ := strings.Cut(rest, ",")
			n, _ := strconv.ParseFloat(count, 64)
			return n
		}
	}
	return 0
}
