// Package redistest runs real Redis servers for tests: one server whose process a test may kill, stop and restore to
// an old state, a cluster of three, and one under Sentinel. Every server is the test's own, listens on 127.0.0.1 and
// on a socket alone, and ends with the test.
package redistest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Options choose how a server runs. The zero value is a redis-server that forgets everything when it ends, with no
// bound on its memory and no password.
type Options struct {
	// Program is the server's program. Default redis-server; valkey-server works as well.
	Program string
	// AOF is how the append-only file is synced: everysec or always. Without one the server keeps what Save wrote.
	AOF string
	// MaxMemory bounds what the server holds, as 20mb. Default no bound.
	MaxMemory string
	// Policy is what happens at MaxMemory. Default noeviction.
	Policy string
	// User is an ACL user who may do everything; the default user is then off.
	User string
	// Password is that of User, or of the default user.
	Password string
	// TLS makes the TCP port speak TLS alone, with a certificate for 127.0.0.1 and localhost. The socket stays plain.
	TLS bool
	// TLSClients refuses TLS clients without a certificate.
	TLSClients bool
}

// Start runs a redis-server of its own for the test and returns a client of it. Where there is none in the PATH the
// test is skipped, or fails when BATCHWRIGHT_TEST_REQUIRE names redis.
func Start(tb testing.TB) *redis.Client {
	tb.Helper()
	return StartServer(tb, Options{}).Client
}

// find is the path of a server's program; without it the test is skipped, or fails where the program is required.
func find(tb testing.TB, program string) string {
	tb.Helper()
	if program == "" {
		program = "redis-server"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		if program == "redis-server" && strings.Contains(os.Getenv("BATCHWRIGHT_TEST_REQUIRE"), "redis") {
			tb.Fatal("redis-server is required and not in the PATH")
		}
		tb.Skipf("no %s in the PATH: tests on it are skipped", program)
	}
	return path
}
