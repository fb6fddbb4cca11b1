package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of so many MiB, which takes root; without it the test is skipped, or fails when
// BATCHWRIGHT_TEST_REQUIRE names mount.
func smallDisk(t *testing.T, mebibytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mebibytes)); err != nil {
		if strings.Contains(os.Getenv("BATCHWRIGHT_TEST_REQUIRE"), "mount") {
			t.Fatalf("mounting a small file system is required: %v", err)
		}
		t.Skipf("a small file system can't be mounted, which takes root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	return dir
}

// A full disk stops new calls, and says so; every answer that was paid for is in the output once there is space.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	const records = 12000
	dir := smallDisk(t, 64)
	var input strings.Builder
	for i := range records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"question %d\"}\n", i, i)
	}
	prepareCrash(t, dir, "out.jsonl", input.String())
	// What is left of 64 MiB beside this and the ballast of 16 is too little for the journal of 12,000 answers.
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 42<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	api := crashAPI(t)
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, "run", filepath.Join(dir, "job.yaml"), "--set", "limits.concurrency=64", "--quiet")
	command.Env = append(os.Environ(), "ANTHROPIC_BASE_URL="+api.URL, "ANTHROPIC_API_KEY=secret")
	full := make(chan struct{})
	log := &watchedLog{marks: map[string]chan struct{}{"disk full": full}}
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case <-full:
	case err := <-ended:
		t.Fatalf("the run ended before the disk was full: %v\n%s", err, log.text.String())
	case <-time.After(time.Minute):
		t.Fatal("the disk was not full after a minute")
	}
	settled := settledCalls(t, api.Stats)
	if settled >= records {
		t.Errorf("all %d calls were made on a full disk", settled)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("run: %v\n%s", err, log.text.String())
	}
	if rows := rowsWithoutCircumstance(t, dir, "out.jsonl"); len(rows) != records {
		t.Errorf("%d rows of %d", len(rows), records)
	}
	if paid := api.Stats(); paid.Answered != records || paid.Repeated != 0 {
		t.Errorf("%d calls, %d paid twice", paid.Answered, paid.Repeated)
	}
}

// watchedLog keeps what is written and closes a channel when its text appears.
type watchedLog struct {
	text  bytes.Buffer
	marks map[string]chan struct{}
}

func (w *watchedLog) Write(b []byte) (int, error) {
	w.text.Write(b)
	for text, seen := range w.marks {
		if bytes.Contains(w.text.Bytes(), []byte(text)) {
			close(seen)
			delete(w.marks, text)
		}
	}
	return len(b), nil
}
