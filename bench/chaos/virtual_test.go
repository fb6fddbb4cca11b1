package chaos

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// G1 and G3 of the protocol as a state machine: records are handed out, claimed, answered, journaled, while whatever may
// crash, restart, forget or be cut off does, at any moment. However that goes, the run ends with each record once, and
// what was paid again is what a fault had lost: calls of a worker that was killed or away, and answers that were in
// Redis alone when it forgot.
//
// go test -run TestProtocol -rapid.checks 1000 looks further.
func TestProtocol(t *testing.T) {
	t.Parallel()
	const workers = 3
	draw := rapid.Custom(func(r *rapid.T) fault {
		f := fault{
			kind: rapid.SampledFrom(virtualKinds).Draw(r, "kind"),
			soon: time.Duration(rapid.IntRange(0, 8000).Draw(r, "after")) * time.Millisecond,
		}
		if f.target() >= 0 {
			f.worker = rapid.IntRange(0, workers-1).Draw(r, "worker")
		}
		if f.kind != redisFlushed && f.kind != workerDrained {
			f.lasts = rapid.SampledFrom([]time.Duration{
				0, 300 * time.Millisecond, 2 * time.Second, 4 * time.Second, 8 * time.Second, 11 * time.Second, 14 * time.Second, 40 * time.Second,
			}).Draw(r, "lasts")
		}
		if f.kind == redisRolled {
			f.age = time.Duration(rapid.IntRange(0, 6000).Draw(r, "age")) * time.Millisecond
		}
		if f.kind == workerCut || f.kind == coordinatorCut {
			f.cut = rapid.SampledFrom([]cut{linkReset, linkHang, linkMute, linkDeaf, linkFlicker}).Draw(r, "cut")
		}
		return f
	})
	base, runs := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		faults := rapid.SliceOfN(draw, 1, 8).Draw(r, "faults")
		runs++
		dir := filepath.Join(base, strconv.Itoa(runs))
		if err := os.Mkdir(dir, 0o700); err != nil {
			r.Fatal(err)
		}
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			f := startVirtualFleet(t, dir, 240, workers)
			f.play(faults)
			f.finish()
			f.repeats()
			wrong = f.wrong
		})
		if len(wrong) > 0 {
			r.Fatal(strings.Join(wrong, "\n"))
		}
	})
}
