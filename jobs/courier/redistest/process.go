package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is a server's process, which can be started again after it ended.
type process struct {
	tb      testing.TB
	program string
	args    []string
	log     string
	command *exec.Cmd
	ended   chan struct{} // closed when the process has ended
}

// newProcess describes a process that logs to dir. It ends with the test; the log is shown when the test failed.
func newProcess(tb testing.TB, dir, program string, args ...string) *process {
	tb.Helper()
	p := &process{tb: tb, program: program, args: args, log: filepath.Join(dir, "log")}
	tb.Cleanup(func() {
		p.kill()
		if text, err := os.ReadFile(p.log); err == nil && tb.Failed() {
			tb.Logf("log of %s:\n%s", program, text)
		}
	})
	return p
}

func (p *process) start() {
	p.tb.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the process has its own
	// The process outlives contexts: only kill ends it.
	p.command = exec.CommandContext(context.Background(), p.program, p.args...) //nolint:gosec // found in the PATH
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		p.tb.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(command *exec.Cmd, ended chan struct{}) {
		_ = command.Wait() // by a signal, mostly
		close(ended)
	}(p.command, p.ended)
}

// await asks until ask succeeds. It fails when the process ends or readyWithin is over.
func (p *process) await(ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(p.tb.Context(), readyWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for an answer: %w", err)
		case <-p.ended:
			return errors.New("it ended at once; its log says why")
		case <-tick.C:
		}
	}
}

func (p *process) signal(signal syscall.Signal) {
	p.tb.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		p.tb.Fatalf("signal %s: %v", signal, err)
	}
}

// kill ends the process by SIGKILL, if it runs, and waits until it has ended.
func (p *process) kill() {
	if p.ended == nil {
		return
	}
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
}
