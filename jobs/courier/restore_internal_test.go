package courier

import (
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// A snapshot that is younger than the coordinator's last renewal comes back with a hand-out that a worker has claimed
// since. Nobody may claim it again, before the coordinator has seen the restart and after.
func TestClaimAfterRestore(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	o, err := Own(t.Context(), server.Client, "r1", 0, OwnerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.stop() // from here it renews when the test does
	o.wait.Wait()
	served := 0
	s := &Session{
		rdb: server.Client, keys: o.keys, claimed: make(map[Number]int),
		options: SessionOptions{Worker: "w1", Serve: func(HandOut) { served++ }},
	}
	n := o.Next()
	if err := o.HandOut(t.Context(), n, []jobs.Request{{Record: 7, Body: []byte("{}"), Digest: jobs.DigestOf([]byte("{}"))}}, New); err != nil {
		t.Fatal(err)
	}
	if err := server.Client.PExpire(t.Context(), o.keys.owner(), time.Hour).Err(); err != nil { // however slow the test is
		t.Fatal(err)
	}
	snapshot := server.Snapshot()
	if err := s.handle(t.Context(), newTask(n)); err != nil || served != 1 {
		t.Fatalf("claimed %d hand-outs, %v", served, err)
	}

	server.Restore(snapshot)
	if err := s.handle(t.Context(), newTask(n)); err == nil || !strings.Contains(err.Error(), "began anew") {
		t.Errorf("a claim before the coordinator's renewal: %v", err)
	}
	if err := o.renewOnce(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-o.Forgot():
	default:
		t.Error("the coordinator does not know that Redis began anew")
	}
	if err := s.handle(t.Context(), newTask(n)); err != nil {
		t.Errorf("a claim of what is void: %v", err)
	}
	if served != 1 {
		t.Errorf("the hand-out was claimed %d times", served)
	}
	if err := o.renewOnce(t.Context(), 2); err != nil || len(o.Forgot()) > 0 {
		t.Errorf("the next renewal: %v, %d times forgotten", err, len(o.Forgot()))
	}
}
