package redistest

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Sentinel is a master and its replica, watched by one Sentinel that makes the replica the master some seconds after
// the master was killed.
type Sentinel struct {
	Master, Replica *Server
	// URL is the address of the Sentinel, as batchwright takes it.
	URL string
}

// masterName is what the Sentinel calls the master.
const masterName = "main"

// StartSentinel runs the three and waits until the Sentinel knows both servers. With a password all of them have it. The test is
// skipped as by Start.
func StartSentinel(tb testing.TB, password string) *Sentinel {
	tb.Helper()
	options := Options{Password: password}
	var auth []string
	if password != "" {
		auth = []string{"masterauth " + password}
	}
	s := &Sentinel{}
	s.Master = startServer(tb, options, func() []string { return append(auth, "repl-diskless-sync-delay 0") })
	address := strings.Replace(s.Master.Addr, ":", " ", 1)
	s.Replica = startServer(tb, options, func() []string { return append(auth, "replicaof "+address) })

	dir, program, port := newDir(tb), find(tb, ""), freePort(tb)
	lines := []string{
		"bind 127.0.0.1", "port " + port, "dir " + dir,
		"sentinel monitor " + masterName + " " + address + " 1",
		"sentinel down-after-milliseconds " + masterName + " 3000", // else a busy machine looks like a dead master
	}
	if password != "" {
		lines = append(lines, "requirepass "+password, "sentinel auth-pass "+masterName+" "+password)
	}
	config := filepath.Join(dir, "conf")
	if err := os.WriteFile(config, []byte(strings.Join(append(lines, ""), "\n")), 0o600); err != nil {
		tb.Fatal(err)
	}
	watching := newProcess(tb, dir, program, config, "--sentinel")
	watching.start()
	u := url.URL{Scheme: "redis+sentinel", Host: net.JoinHostPort("127.0.0.1", port), Path: masterName}
	if password != "" {
		u.User = url.UserPassword("", password)
		u.RawQuery = url.Values{"sentinel_password": {password}}.Encode()
	}
	s.URL = u.String()
	client := redis.NewSentinelClient(&redis.Options{Addr: u.Host, Password: password, Protocol: 2, DisableIdentity: true})
	tb.Cleanup(func() { _ = client.Close() })
	if err := watching.await(func(ctx context.Context) error { return s.watched(ctx, client) }); err != nil {
		tb.Fatalf("start Sentinel: %v", err)
	}
	return s
}

// watched asks whether the Sentinel knows the replica, and the replica has what the master has.
func (s *Sentinel) watched(ctx context.Context, client *redis.SentinelClient) error {
	replicas, err := client.Replicas(ctx, masterName).Result()
	if err != nil {
		return err
	}
	state, err := s.Replica.Client.Info(ctx, "replication").Result()
	if err != nil {
		return err
	}
	if len(replicas) == 0 || !strings.Contains(state, "master_link_status:up") {
		return errors.New("the replica is not in place yet")
	}
	return nil
}
