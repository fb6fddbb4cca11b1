package deploycheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// fleet runs the services of the compose file as processes: the same commands and environment, with paths and addresses
// moved to where they are without containers.
type fleet struct {
	t       *testing.T
	project *types.Project
	binary  string
	redis   *scripted
	moved   *strings.Replacer
	api     string
}

// The rehearsal that the compose file promises works as it stands there: Redis with the rights it gives, the simulator,
// a coordinator without a key, and three workers, of which one is killed. Nothing is lost, and Redis refused nobody
// anything.
func TestFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var workers []*service
	for range 3 {
		workers = append(workers, f.start("worker"))
	}
	run := f.start("run")
	f.awaitAnswers(20)
	if err := workers[0].command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := run.wait(); err != nil {
		t.Fatalf("run: %v\n%s", err, run.output())
	}
	for _, worker := range workers[1:] {
		if err := worker.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := worker.wait(); err != nil {
			t.Errorf("a drained worker: %v\n%s", err, worker.output())
		}
	}
	out, err := f.redis.run("redis-cli", "--user", "witness", "--pass", "any", "--no-auth-warning", "acl", "log")
	if err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("Redis refused something to batchwright's user (%v):\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), f.binary, "verify", f.moved.Replace("/jobs/compose/job.yaml")).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	project, err := compose(t, read(t, composeFile), rehearseEnv)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, project: project, binary: filepath.Join(t.TempDir(), "batchwright")}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", f.binary, "./cmd/batchwright")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as in the image, so that one build serves both
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	redis := project.Services["redis"]
	f.redis = startRedis(t, "/run/secrets/redis_url", append(redis.Entrypoint, redis.Command...))
	// The examples, without what earlier runs of them left.
	files := t.TempDir()
	for _, name := range []string{"compose/job.yaml", "classify/messages.jsonl"} {
		copyFile(t, filepath.Join(root, "examples", name), filepath.Join(files, "jobs", name))
	}
	secrets := map[string]string{
		"api_key":   strings.TrimSpace(read(t, project.Secrets["api_key"].File)),
		"redis_url": "unix://batchwright:rehearsal-not-a-secret@" + filepath.Join(f.redis.dir, "socket"),
	}
	if err := os.Mkdir(filepath.Join(files, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range secrets {
		if err := os.WriteFile(filepath.Join(files, "secrets", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	moves := []string{"/jobs/", filepath.Join(files, "jobs") + "/", "/run/secrets/", filepath.Join(files, "secrets") + "/", "0.0.0.0:8787", "127.0.0.1:0", "2s", "200ms"}
	f.moved = strings.NewReplacer(moves...)
	f.api = f.start("simulate").await("http://")
	f.moved = strings.NewReplacer(append(moves, "http://simulate:8787", f.api)...)
	return f
}

// awaitAnswers waits until the simulated API has given so many.
func (f *fleet) awaitAnswers(n int) {
	f.t.Helper()
	for {
		request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.api+"/simulator/stats", http.NoBody)
		if err != nil {
			f.t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			f.t.Fatal(err)
		}
		var stats struct {
			Answered int `json:"answered"`
		}
		err = errors.Join(json.NewDecoder(response.Body).Decode(&stats), response.Body.Close())
		if err != nil {
			f.t.Fatal(err)
		}
		if stats.Answered >= n {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-f.t.Context().Done():
			f.t.Fatal("the test is over")
		}
	}
}

// service is a running process of a fleet.
type service struct {
	t       *testing.T
	command *exec.Cmd
	ended   chan struct{}
	err     error

	mu      sync.Mutex
	said    bytes.Buffer
	written chan struct{}
}

func (f *fleet) start(name string) *service {
	f.t.Helper()
	config := f.project.Services[name]
	var args []string
	for _, arg := range config.Command {
		args = append(args, f.moved.Replace(arg))
	}
	s := &service{t: f.t, ended: make(chan struct{}), written: make(chan struct{}, 1)}
	s.command = exec.CommandContext(context.WithoutCancel(f.t.Context()), f.binary, args...)
	s.command.Env = []string{"TMPDIR=" + f.t.TempDir()}
	for key, value := range maps.All(config.Environment) {
		s.command.Env = append(s.command.Env, key+"="+f.moved.Replace(*value))
	}
	s.command.Stdout, s.command.Stderr = s, s
	if err := s.command.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() { s.err = s.command.Wait(); close(s.ended) }()
	f.t.Cleanup(func() { _ = s.command.Process.Kill(); <-s.ended })
	return s
}

// Write takes what the process says.
func (s *service) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.written <- struct{}{}:
	default:
	}
	return s.said.Write(text)
}

func (s *service) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// await is the first line that holds the text.
func (s *service) await(text string) string {
	s.t.Helper()
	for {
		for line := range strings.Lines(s.output()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return strings.TrimSpace(line)
			}
		}
		select {
		case <-s.written:
		case <-s.ended:
			s.t.Fatalf("%s ended (%v) without saying %q:\n%s", s.command.Args[1], s.err, text, s.output())
		case <-time.After(time.Minute):
			s.t.Fatalf("%s has not said %q for a minute:\n%s", s.command.Args[1], text, s.output())
		}
	}
}

func (s *service) wait() error {
	s.t.Helper()
	select {
	case <-s.ended:
		return s.err
	case <-time.After(3 * time.Minute):
		s.t.Fatalf("%s has not ended in three minutes:\n%s", s.command.Args[1], s.output())
		return nil
	}
}
