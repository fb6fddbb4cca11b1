package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// A whole run, with a worker in a process of its own, over each kind of Redis that people have: it ends complete and
// verified, and nothing of it is left there. Under Sentinel the master dies on the way, with what its replica had not yet.
func TestRunOnRedisKinds(t *testing.T) {
	t.Parallel()
	type deployed struct {
		env     []string
		servers []*redis.Client // to be searched for what is left
		midway  func()
	}
	single := func(options redistest.Options) func(*testing.T) deployed {
		return func(t *testing.T) deployed {
			t.Helper()
			server := redistest.StartServer(t, options)
			env := []string{"BATCHWRIGHT_REDIS=" + server.URL}
			return deployed{env: env, servers: []*redis.Client{server.Client}}
		}
	}
	for name, deploy := range map[string]func(*testing.T) deployed{
		"valkey": single(redistest.Options{Program: "valkey-server"}),
		"user":   single(redistest.Options{User: "app", Password: "p@ss/w?rd#%:"}),
		"cluster": func(t *testing.T) deployed {
			t.Helper()
			cluster := redistest.StartCluster(t)
			d := deployed{env: []string{"BATCHWRIGHT_REDIS=" + cluster.URL}}
			for _, node := range cluster.Nodes {
				d.servers = append(d.servers, node.Client)
			}
			return d
		},
		"sentinel": func(t *testing.T) deployed {
			t.Helper()
			s := redistest.StartSentinel(t, "secret")
			return deployed{
				env: []string{"BATCHWRIGHT_REDIS=" + s.URL}, servers: []*redis.Client{s.Replica.Client}, midway: s.Master.Kill,
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const records = 600
			d := deploy(t)
			api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Latency: 60 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { api.Close() })
			dir := t.TempDir()
			var input strings.Builder
			for i := range records {
				fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"t%d\"}\n", i, i)
			}
			prepareCrash(t, dir, "out.jsonl", input.String())
			job := filepath.Join(dir, "job.yaml")
			env := append(d.env, "ANTHROPIC_BASE_URL="+api.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_CRASH_AT=", "BATCHWRIGHT_STATE=")
			binary, err := crashBinary()
			if err != nil {
				t.Fatal(err)
			}
			worker := exec.CommandContext(context.Background(), binary, "worker", "--concurrency", "4")
			worker.Env = append(worker.Environ(), env...)
			if err := worker.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = worker.Process.Kill() // when it has not ended by itself
				_ = worker.Wait()
			}()
			ended := make(chan error, 1)
			go func() {
				_, err := commandIn(t, env, "run", job, "--quiet", "--no-worker")
				ended <- err
			}()
			if d.midway != nil {
				awaitStatus(t, env, job, "well on its way", func(l *statusLine) bool { return l != nil && l.Done > records/6 })
				d.midway()
			}
			if err := <-ended; err != nil {
				t.Fatalf("run: %v", err)
			}
			if out, err := commandIn(t, env, "verify", job); err != nil {
				t.Errorf("verify: %v\n%s", err, out)
			}
			if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := worker.Wait(); err != nil {
				t.Errorf("worker: %v", err)
			}
			if calls := api.Stats().Calls; d.midway == nil && calls != records {
				t.Errorf("%d calls for %d records", calls, records)
			}
			for _, server := range d.servers {
				if left := server.Keys(t.Context(), "bw:{*").Val(); len(left) > 0 {
					t.Errorf("%s is left", left)
				}
			}
		})
	}
}
