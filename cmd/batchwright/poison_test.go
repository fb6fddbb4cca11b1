package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// G6: a record that kills its process each time fails as poison when it was in flight alone at three deaths, and the
// records that were in flight beside it do not.
func TestPoison(t *testing.T) {
	t.Parallel()
	const records = 40
	api := crashAPI(t)
	var mu sync.Mutex
	var process *os.Process // that runs the job
	deaths := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the process is dead
		}
		if bytes.Contains(body, []byte("t17\"")) {
			// As an answer does that is too much for the process: not at the very moment of the call.
			select {
			case <-time.After(300 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
			mu.Lock()
			deaths++
			_ = process.Kill()
			mu.Unlock()
			<-r.Context().Done()
			return
		}
		forward, err := http.NewRequestWithContext(r.Context(), r.Method, api.URL+r.URL.Path, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		forward.Header = r.Header
		answer, err := http.DefaultClient.Do(forward)
		if err != nil {
			return // the process is dead
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	}))
	t.Cleanup(front.Close)
	dir := t.TempDir()
	var input strings.Builder
	for i := range records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"t%d\"}\n", i, i)
	}
	prepareCrash(t, dir, "out.jsonl", input.String())
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	const most = 8
	for n := 1; ; n++ {
		command := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "run", filepath.Join(dir, "job.yaml"), "--quiet")
		command.Env = append(os.Environ(), "ANTHROPIC_BASE_URL="+front.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_REDIS=")
		var said bytes.Buffer
		command.Stderr = &said
		mu.Lock()
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		process = command.Process
		mu.Unlock()
		err := command.Wait()
		if code := command.ProcessState.ExitCode(); code == exitManyFailures {
			break // complete, with one failed record
		} else if code != -1 || n == most {
			t.Fatalf("start %d ended with %v:\n%s", n, err, said.String())
		}
	}
	if deaths != 4 {
		t.Errorf("it took %d deaths, want one in company and three alone", deaths)
	}
	for i, row := range rowsWithoutCircumstance(t, dir, "out.jsonl") {
		status, reason := row["_status"], row["_reason"]
		if i == 17 && reason != "poison" || i != 17 && status != "succeeded" {
			t.Errorf("record %d: %v, %v", i, status, reason)
		}
	}
}
