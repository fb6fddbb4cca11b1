package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// secret begins every credential that a process is given.
const secret = "sk-canary-4f1d7a"

const jobFile = `
name: chaos
input: in.jsonl
output: out.jsonl
request:
  model: claude-haiku-4-5-20251001
  max_tokens: 60
  messages: [{role: user, content: "{{.text}}"}]
limits: {concurrency: 48}
`

// member is a machine of the fleet: a process that is started again whenever it was ended, behind a link of its own.
type member struct {
	name string
	link *proxy
	// args of the process, env beside its credential.
	args, env   []string
	process     *process
	incarnation int
	ending      bool // told to end
}

// key is the credential of the present incarnation, by which its calls are known.
func (m *member) key() string { return fmt.Sprintf("%s-%s.%d", secret, m.name, m.incarnation) }

// fleet is one run and all that takes part in it.
type fleet struct {
	t           *testing.T
	dir         string // of the job
	logs        string // kept after the test with go test -artifacts
	records     int
	api         *api
	redis       *redistest.Server
	coordinator *member
	workers     []*member
	snapshots   []redistest.Snapshot
	losses      []*loss
}

// setup says what fleet a test wants.
type setup struct {
	records, workers, slots int
	options                 simulator.Options
	// coordinatorWorks lets the coordinator make calls as well.
	coordinatorWorks bool
	prompt           string   // beside the record's number
	args             []string // for every process
	env              []string // for every process
}

func startFleet(t *testing.T, s setup) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), logs: t.ArtifactDir(), records: s.records}
	f.redis = redistest.StartServer(t, redistest.Options{AOF: "everysec"})
	f.api = startAPI(t, s.options)
	var input strings.Builder
	for i := range s.records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"record %d: %s\"}\n", i, i, s.prompt)
	}
	for name, content := range map[string]string{"job.yaml": jobFile, "in.jsonl": input.String()} {
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		logs, _ := filepath.Glob(filepath.Join(f.logs, "*.log"))
		for _, log := range logs {
			t.Logf("the end of %s:\n%s", filepath.Base(log), tail(log, 40))
		}
	})
	f.coordinator = &member{name: "coordinator", link: startProxy(t, f.redis.Addr), env: append([]string{"ANTHROPIC_BASE_URL=" + f.api.url}, s.env...)}
	f.coordinator.args = append([]string{
		"run", filepath.Join(f.dir, "job.yaml"), "--redis", "redis://" + f.coordinator.link.addr, "--quiet", "--yes",
		"--wait-lock", "1m", "--summary", filepath.Join(f.dir, "summary.json"),
	}, s.args...)
	if !s.coordinatorWorks {
		f.coordinator.args = append(f.coordinator.args, "--no-worker")
	}
	f.start(f.coordinator)
	for i := range s.workers {
		m := &member{name: fmt.Sprintf("worker%d", i+1), link: startProxy(t, f.redis.Addr), env: s.env}
		m.args = append([]string{
			"worker", "--redis", "redis://" + m.link.addr, "--base-url", f.api.url,
			"--concurrency", fmt.Sprint(s.slots), "--grace", "1m",
		}, s.args...)
		f.workers = append(f.workers, m)
		f.start(m)
	}
	return f
}

// start begins a member's next incarnation.
func (f *fleet) start(m *member) {
	f.t.Helper()
	m.incarnation++
	m.ending = false
	m.process = launch(f.t, m.name, filepath.Join(f.logs, m.name+".log"), append([]string{"ANTHROPIC_API_KEY=" + m.key()}, m.env...), m.args...)
}

// ended waits for a member to end, as it must do by itself, and returns its exit code.
func (f *fleet) ended(m *member) int {
	f.t.Helper()
	until(f.t, "the end of "+m.name, func() bool { return !m.process.running() })
	code, _ := m.process.wait(0)
	return code
}

// dump makes every process of ours write down what it is doing, and end.
func (f *fleet) dump() {
	for _, m := range append([]*member{f.coordinator}, f.workers...) {
		m.process.signal(syscall.SIGQUIT)
		m.process.wait(10 * time.Second)
	}
}

// end tells a member to stop as a deployment would.
func (f *fleet) end(m *member) {
	m.ending = true
	m.process.signal(syscall.SIGTERM)
}

func (f *fleet) state() string { return filepath.Join(f.dir, ".batchwright", "chaos") }

// keys are the credentials of all that call now.
func (f *fleet) keys() []string {
	keys := []string{f.coordinator.key()}
	for _, m := range f.workers {
		keys = append(keys, m.key())
	}
	return keys
}

// batchwright runs a command to its end and returns its exit code and what it said.
func (f *fleet) batchwright(args ...string) (int, string) {
	f.t.Helper()
	log := filepath.Join(f.logs, args[0]+".command.log")
	_ = os.Remove(log)
	p := launch(f.t, args[0], log, []string{"ANTHROPIC_API_KEY=" + secret + "-command", "ANTHROPIC_BASE_URL=" + f.api.url}, args...)
	code, ended := p.wait(2 * time.Minute)
	if !ended {
		f.t.Fatalf("batchwright %s did not end in two minutes", args[0])
	}
	return code, tail(log, 1000)
}

// complete ends the fleet after its run has ended with an exit code, and checks what holds then.
func (f *fleet) complete(code int) {
	t := f.t
	t.Helper()
	for _, m := range f.workers {
		f.end(m)
	}
	for _, m := range f.workers {
		if got, ended := m.process.wait(time.Minute); !ended || got != exitComplete && got != exitTerminated {
			t.Errorf("%s, told to end when nothing was to do: ended %v, exit code %d", m.name, ended, got)
		}
	}
	job := filepath.Join(f.dir, "job.yaml")
	if got, said := f.batchwright("verify", job); got != exitComplete {
		t.Errorf("verify: exit code %d\n%s", got, said)
	}
	before := len(f.api.all())
	if got, said := f.batchwright("run", job, "--quiet"); got != code {
		t.Errorf("a complete run, run again: exit code %d\n%s", got, said)
	}
	if after := len(f.api.all()); after != before {
		t.Errorf("a complete run, run again, made %d calls", after-before)
	}
	if left := f.left(); len(left) > 0 {
		t.Errorf("Redis still holds of the run: %q", left)
	}
}

// Exit codes, as the README has them.
const (
	exitComplete     = 0
	exitManyFailures = 3
	exitOwned        = 5
	exitTerminated   = 143
)

// global are the keys that belong to no run.
var global = map[string]bool{"bw:ended": true, "asynq:queues": true, "asynq:servers": true, "asynq:workers": true}

// left lists what Redis holds beside what is documented as no run's.
func (f *fleet) left() []string {
	keys, err := f.redis.Client.Keys(f.t.Context(), "*").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	var left []string
	for _, key := range keys {
		if global[key] {
			continue
		}
		left = append(left, key)
	}
	return left
}
