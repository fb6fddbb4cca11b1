package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

const (
	// A worker that was away for less than this keeps its lease of 12 s, renewed every 3 s: nothing is lost.
	awayShort = 5 * time.Second
	// Calls that a worker was about to make when it was stopped begin at most so much after it goes on.
	slack = 500 * time.Millisecond
)

// step is a piece of a fault, done so long after the one before. It is tried again until it reports that it is done.
type step struct {
	after time.Duration
	do    func() bool
}

// plan says what a fault does, step by step, from its strike until all is up again.
func (f *fleet) plan(now fault) []step {
	m := f.coordinator
	if now.target() >= 0 {
		m = f.workers[now.worker]
	}
	switch now.kind {
	case workerKilled, coordinatorKilled:
		return []step{
			{0, func() bool {
				inFlight := f.api.open(m.key())
				m.process.kill()
				l := f.book(now, inFlight)
				// What it had sent before may reach the API after its end.
				l.keys[m.key()], l.until = true, time.Now().Add(time.Hour)
				return true
			}},
			{now.lasts, func() bool { f.start(m); return true }},
		}
	case workerStopped, coordinatorStopped:
		return f.away(now, m,
			func() { m.process.signal(syscall.SIGSTOP) },
			func() { m.process.signal(syscall.SIGCONT) })
	case workerCut, coordinatorCut:
		return f.away(now, m, func() { m.link.set(now.cut) }, func() { m.link.set(linkUp) })
	case workerDrained, coordinatorDrained:
		return []step{
			{0, func() bool { f.book(now, f.api.open(m.key())); f.end(m); return true }},
			{now.lasts, func() bool {
				if m.process.running() {
					return false
				}
				f.start(m)
				return true
			}},
		}
	case redisKilled:
		return f.redisGone(now, func() { f.redis.Restart() })
	case redisStopped:
		return []step{
			{0, func() bool { f.book(now, f.api.open()); f.redis.Pause(); return true }},
			{now.lasts, func() bool { f.redis.Continue(); return true }},
		}
	case redisRolled:
		// A server with save points and no append-only file, at the last of them; then one as before.
		saved := func() bool { f.snapshot(); f.persist("no"); f.redis.Save(); return true }
		gone := f.redisGone(now, func() { f.redis.Restart(); f.persist("yes") })
		gone[0].after = now.age
		return append(append([]step{{0, saved}}, gone...), step{0, f.appending})
	case redisRewound:
		return f.redisGone(now, func() {
			oldest := f.snapshots[0]
			f.snapshots = append(f.snapshots[1:], oldest)
			f.redis.Restore(oldest)
		})
	case redisEmptied:
		return f.redisGone(now, func() { f.redis.Wipe(); f.redis.Restart() })
	case redisFlushed:
		return []step{{0, func() bool {
			inFlight := f.api.open()
			if err := f.redis.Client.FlushAll(f.t.Context()).Err(); err != nil {
				f.t.Errorf("flush: %v", err)
			}
			f.forgotten(f.book(now, inFlight))
			return true
		}}}
	case rivalStarted:
		return f.rival(now)
	default:
		panic(now.kind)
	}
}

// book begins the account of a fault that has struck.
func (f *fleet) book(now fault, inFlight int) *loss {
	l := &loss{fault: now, began: time.Now(), inFlight: inFlight, keys: map[string]bool{}}
	l.journaled = journaled(f.t, f.state(), f.records)
	f.losses = append(f.losses, l)
	return l
}

// away takes a member away for a while, during which it neither dies nor hears of anything.
func (f *fleet) away(now fault, m *member, leave, back func()) []step {
	var l *loss
	return []step{
		{0, func() bool {
			inFlight := f.api.open(m.key())
			leave()
			l = f.book(now, inFlight)
			if now.lasts > awayShort && now.cut != linkFlicker {
				l.keys[m.key()], l.until = true, time.Now().Add(time.Hour)
			}
			return true
		}},
		{now.lasts, func() bool { back(); l.until = time.Now().Add(slack); return true }},
	}
}

// redisGone kills Redis and brings it back in a way that keeps what its append-only file has, or less.
func (f *fleet) redisGone(now fault, back func()) []step {
	return []step{
		{0, func() bool {
			inFlight := f.api.open()
			f.redis.Kill()
			l := f.book(now, inFlight)
			if now.kind != redisKilled {
				f.forgotten(l)
			}
			return true
		}},
		{now.lasts, func() bool { back(); return true }},
	}
}

// forgotten books what was answered and not journaled when Redis forgot it.
func (f *fleet) forgotten(l *loss) {
	l.until, l.answeredOnly = time.Now(), true
	for _, key := range f.keys() {
		l.keys[key] = true
	}
}

// persist lets Redis have an append-only file or none, from now on and when it starts again.
func (f *fleet) persist(appendonly string) {
	f.t.Helper()
	if err := errors.Join(f.redis.Client.ConfigSet(f.t.Context(), "appendonly", appendonly).Err(),
		f.redis.Client.ConfigRewrite(f.t.Context()).Err()); err != nil {
		f.t.Fatal(err)
	}
}

// appending reports whether all that Redis holds is in its append-only file.
func (f *fleet) appending() bool {
	f.t.Helper()
	persistence, err := f.redis.Client.Info(f.t.Context(), "persistence").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, wanted := range []string{"aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"} {
		if !strings.Contains(persistence, wanted) {
			return false
		}
	}
	return true
}

// snapshot keeps what Redis holds now.
func (f *fleet) snapshot() {
	f.t.Helper()
	// All that was ever written lies in the append-only file; only what is there now is wanted.
	if err := f.redis.Client.BgRewriteAOF(f.t.Context()).Err(); err != nil {
		f.t.Fatal(err)
	}
	until(f.t, "a new append-only file", f.appending)
	f.snapshots = append(f.snapshots, f.redis.Snapshot())
}

// rival starts a second coordinator for the run, which must find that it is not wanted.
func (f *fleet) rival(now fault) []step {
	var p *process
	return []step{
		{0, func() bool {
			if !f.locked() { // the coordinator is about to begin: the rival would be the first
				return false
			}
			f.book(now, f.api.open())
			p = launch(f.t, "rival", filepath.Join(f.logs, "rival.log"), append([]string{"ANTHROPIC_API_KEY=" + secret + "-rival"},
				f.coordinator.env...), append(f.coordinator.args, "--wait-lock", "0")...)
			return true
		}},
		{0, func() bool {
			code, ended := p.wait(0)
			if ended && code != exitOwned && (code != exitComplete || f.coordinator.process.running()) {
				f.t.Errorf("a second coordinator ended with exit code %d:\n%s", code, tail(p.log, 20))
			}
			return ended
		}},
	}
}

// locked reports whether a process holds the job's state folder.
func (f *fleet) locked() bool {
	lock, err := os.Open(filepath.Join(f.state(), "lock"))
	if err != nil {
		return false
	}
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// The fault without an append-only file is what its name says: what came after the save is lost, and what comes after the
// fault is not.
func TestRDBOnly(t *testing.T) {
	t.Parallel()
	f := &fleet{t: t, dir: t.TempDir(), api: newAPI(), coordinator: &member{}}
	f.redis = redistest.StartServer(t, redistest.Options{AOF: "everysec"})
	set := func(value string) {
		t.Helper()
		if err := f.redis.Client.Set(t.Context(), "key", value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	steps := f.plan(fault{kind: redisRolled})
	set("saved")
	steps[0].do()
	set("lost")
	steps[1].do()
	if err := f.redis.Client.Ping(t.Context()).Err(); err == nil {
		t.Error("Redis was not killed")
	}
	steps[2].do()
	if got := f.redis.Client.Get(t.Context(), "key").Val(); got != "saved" {
		t.Errorf("after the restart the key is %q", got)
	}
	until(t, "the end of the fault", steps[3].do)
	set("appended")
	f.redis.Restart()
	if got := f.redis.Client.Get(t.Context(), "key").Val(); got != "appended" {
		t.Errorf("after a restart with an append-only file the key is %q", got)
	}
}
