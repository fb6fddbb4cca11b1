// Package redistest starts a real redis-server for a test.
package redistest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Start runs a redis-server of its own for the test and returns a client of it. Where there is none in the PATH the
// test is skipped, or fails when BATCHWRIGHT_TEST_REQUIRE names redis.
func Start(t *testing.T) *redis.Client {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if strings.Contains(os.Getenv("BATCHWRIGHT_TEST_REQUIRE"), "redis") {
			t.Fatal("redis-server is required and not in the PATH")
		}
		t.Skip("no redis-server in the PATH: tests on a real Redis are skipped")
	}
	// A short path: a socket's may have 107 bytes.
	dir, err := os.MkdirTemp("", "bwredis") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	server := exec.CommandContext(context.WithoutCancel(t.Context()), program, //nolint:gosec // found in the PATH
		"--port", "0", "--unixsocket", socket,
		"--dir", dir, "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for client.Ping(ctx).Err() != nil {
		select {
		case <-ctx.Done():
			t.Fatal("redis-server did not come up in 10 s")
		case <-tick.C:
		}
	}
	return client
}
