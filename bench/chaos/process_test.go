package chaos

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// program builds the binary once for all tests, with the race detector when the tests have it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bwchaos")
	if err != nil {
		return "", err
	}
	programDir = dir
	path := filepath.Join(dir, "batchwright")
	args := []string{"build", "-o", path}
	if raceDetector {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(context.Background(), "go",
		append(args, "github.com/batchwright/batchwright/cmd/batchwright")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// programDir is where the binary was built, if it was.
var programDir string

// No goroutine outlives the tests: neither of a proxy, nor of the API, nor of a run in a bubble.
//
// Most tests wait for processes of theirs most of the time, so twice as many run at once as there are cores.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if programDir != "" {
			_ = os.RemoveAll(programDir)
		}
		os.Exit(code)
	}))
}

// process is one incarnation of a program.
type process struct {
	name    string
	command *exec.Cmd
	log     string // path of what it wrote to stderr and stdout
	exited  chan struct{}
}

// launch starts batchwright with arguments and only the environment that it is given. It is killed with the test,
// and its log shown if the test failed.
func launch(t *testing.T, name, log string, env []string, args ...string) *process {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	command := exec.Command(binary, args...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(log), "GORACE=halt_on_error=1"}, env...)
	command.Stdout, command.Stderr = out, out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{name: name, command: command, log: log, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = command.Wait()
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-p.exited
	})
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.command.Process.Signal(s) }

// kill ends the process as a power cut would, and returns when it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// wait returns the exit code, -1 after a signal, or false when the process still runs after the time.
func (p *process) wait(most time.Duration) (int, bool) {
	if !p.running() { // a timer of no time at all would be ready too
		return p.command.ProcessState.ExitCode(), true
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-p.exited:
		return p.command.ProcessState.ExitCode(), true
	case <-timer.C:
		return 0, false
	}
}

// tail is the end of a log.
func tail(log string, lines int) string {
	content, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	all := bytes.SplitAfter(content, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], nil))
}
