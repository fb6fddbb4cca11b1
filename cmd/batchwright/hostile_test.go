package main

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// G8: whoever can write to Redis gets no credential and no file of a worker, and does not end it. The worker sends its
// key to the address that it was started with and to nobody else, opens nothing where it runs, and then serves an honest
// run on the same Redis to its end.
func TestHostileRedis(t *testing.T) {
	t.Parallel()
	const records = 20
	key := "canary-" + rand.Text()
	server := redistest.StartServer(t, redistest.Options{})
	attacker, heard := listenForNothing(t)
	api := newHeedfulAPI(t, attacker)
	world := newWorld(t)
	h := &hostile{t: t, rdb: server.Client, api: api.addr, attacker: attacker, bait: world.bait}
	switched := h.plantAll()

	leaked := wiretap(t, server.Addr, key)
	before := world.tree(t)
	touched := watchFolders(t, world.folders())
	worker := world.startWorker(t, server.URL, "http://"+api.addr, key)
	for _, text := range append(redirects, lastOfAll, afterTheJunk, "of run ../../x", "before the switch") {
		api.await(t, worker, text)
	}
	switched()
	api.await(t, worker, "after the switch")

	// The calls of the honest run wait for the attack on it.
	job := t.TempDir()
	var input strings.Builder
	for i := range records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"honest %d\"}\n", i, i)
	}
	prepareCrash(t, job, "out.jsonl", input.String())
	done := make(chan error, 1)
	go func() {
		env := []string{"ANTHROPIC_BASE_URL=http://" + api.addr, "ANTHROPIC_API_KEY=", "BATCHWRIGHT_REDIS=" + server.URL, "BATCHWRIGHT_CRASH_AT="}
		_, err := commandIn(t, env, "run", filepath.Join(job, "job.yaml"), "--quiet", "--no-worker")
		done <- err
	}()
	api.await(t, worker, "honest")
	h.attackRunningRun()
	close(api.admitHonest)
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the honest run: %v", err)
		}
	case <-worker.ended:
		t.Fatalf("the worker ended:\n%s", worker.end())
	case <-time.After(time.Minute):
		t.Fatalf("the honest run is not complete after a minute:\n%s", worker.end())
	}
	for _, row := range rowsWithoutCircumstance(t, job, "out.jsonl") {
		if row["_status"] != "succeeded" {
			t.Errorf("a row of the honest run: %v", row)
		}
	}
	text := worker.end()

	if diff := cmp.Diff("control", heard()); diff != "" {
		t.Errorf("the attacker heard (-nothing but the test +got):\n%s", diff)
	}
	for _, c := range api.calls {
		if c.credential != "Bearer "+key {
			t.Errorf("a call with the credential %q: %.200q", c.credential, c.body)
		}
	}
	if leaks := leaked(server.Client.Echo(t.Context(), endOfWiretap).Err()); len(leaks) > 0 {
		t.Errorf("Redis was told the key: %.500q", leaks)
	}
	if said := strings.Count(text, "this worker sends its credential only to"); said < h.refused {
		t.Errorf("%d runs that lead elsewhere were refused, want %d at least:\n%s", said, h.refused, text)
	}
	if strings.Contains(text, key) {
		t.Errorf("the key is in the log:\n%s", text)
	}
	if events := touched(world.control); len(events) > 0 {
		t.Errorf("the worker opened or made %q", events)
	}
	if diff := cmp.Diff(before, world.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}
