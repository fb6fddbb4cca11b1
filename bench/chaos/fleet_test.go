package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// secret begins every credential that a process is given.
const secret = "sk-canary-4f1d7a"

// jobFile is the job, with answers of so many tokens at most.
func jobFile(maxTokens int) string {
	return fmt.Sprintf(`
name: chaos
input: in.jsonl
output: out.jsonl
request:
  model: claude-haiku-4-5-20251001
  max_tokens: %d
  messages: [{role: user, content: "{{.text}}"}]
limits: {concurrency: 48}
`, maxTokens)
}

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
	t    *testing.T
	dir  string // of the job
	logs string // kept after the test with go test -artifacts
	setup
	api         *api
	redis       *redistest.Server
	coordinator *member
	workers     []*member
	hired       int // workers, over time
	snapshots   []redistest.Snapshot
	losses      []*loss
}

// setup says what fleet a test wants.
type setup struct {
	records, slots int
	staff          int // workers at the start
	options        simulator.Options
	// coordinatorWorks lets the coordinator make calls as well.
	coordinatorWorks bool
	prompt           string // beside the record's number
	noise            int    // bytes that nothing compresses, in each prompt
	maxTokens        int    // default 60
	// stays picks calls that are never answered; others it may hold up.
	stays  func(record int64, key string) bool
	server redistest.Options // default an append-only file
	args   []string          // for every process
	env    []string          // for every process
}

func startFleet(t *testing.T, s setup) *fleet {
	t.Helper()
	if s.maxTokens == 0 {
		s.maxTokens = 60
	}
	if s.server == (redistest.Options{}) {
		s.server.AOF = "everysec"
	}
	f := &fleet{t: t, dir: t.TempDir(), logs: t.ArtifactDir(), setup: s}
	f.redis = redistest.StartServer(t, s.server)
	f.api = startAPI(t, s.options, s.stays)
	var input strings.Builder
	random := rand.New(rand.NewPCG(1, 0))
	for i := range s.records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"record %d: %s%s\"}\n", i, i, s.prompt, noise(random, s.noise))
	}
	for name, content := range map[string]string{"job.yaml": jobFile(s.maxTokens), "in.jsonl": input.String()} {
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
	for range s.staff {
		f.workers = append(f.workers, f.hire())
	}
	return f
}

// hire starts a worker on a machine of its own.
func (f *fleet) hire() *member {
	f.t.Helper()
	f.hired++
	m := &member{name: fmt.Sprintf("worker%d", f.hired), link: startProxy(f.t, f.redis.Addr), env: f.env}
	m.args = append([]string{
		"worker", "--redis", "redis://" + m.link.addr, "--base-url", f.api.url,
		"--concurrency", fmt.Sprint(f.slots), "--grace", "1m",
	}, f.args...)
	f.start(m)
	return m
}

// noise is text of so many bytes that nothing compresses and nothing escapes.
func noise(random *rand.Rand, bytes int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	text := make([]byte, bytes)
	for i := range text {
		text[i] = letters[random.IntN(len(letters))]
	}
	return string(text)
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

// summary is what a run says of itself at its end.
type summary struct {
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Repeats   int `json:"repeats"`
	Unknown   int `json:"repeats_unknown"`
}

func (f *fleet) summary() summary {
	f.t.Helper()
	content, err := os.ReadFile(filepath.Join(f.dir, "summary.json"))
	if err != nil {
		f.t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal(content, &s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// answeredOnce checks that so many records were answered, and none again without a fault that explains it; the run
// must say of itself the same.
func (f *fleet) answeredOnce(records int) {
	t := f.t
	t.Helper()
	if answered := f.api.answered(); answered != records {
		t.Errorf("%d records were answered, want %d", answered, records)
	}
	repeats, unexplained := audit(f.api.all(), f.losses)
	for _, history := range unexplained[:min(len(unexplained), 10)] {
		t.Errorf("paid again, and no fault explains it: %s", history)
	}
	s := f.summary()
	if s.Succeeded != records || s.Failed != f.records-records {
		t.Errorf("of %d records %d succeeded and %d failed, want %d to succeed", f.records, s.Succeeded, s.Failed, records)
	}
	if s.Repeats+s.Unknown < repeats {
		t.Errorf("%d calls were paid again, and the run says that at most %d were", repeats, s.Repeats+s.Unknown)
	}
}

// lostNothing checks that each record was called once, and that the run took none back from workers or from Redis.
func (f *fleet) lostNothing() {
	f.t.Helper()
	if calls := len(f.api.all()); calls != f.records {
		f.t.Errorf("%d calls for %d records", calls, f.records)
	}
	if s := f.summary(); s.Repeats+s.Unknown > 0 {
		f.t.Errorf("the run says that %d answers came twice and that it took %d records back from what died or forgot", s.Repeats, s.Unknown)
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
		if !ofNoRun(key) {
			left = append(left, key)
		}
	}
	return left
}

// ofNoRun reports whether a key belongs to no run: it is global, or what is known of an account's limits.
func ofNoRun(key string) bool { return global[key] || strings.HasPrefix(key, courier.ScopePrefix) }
