package courier_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

func connect(t *testing.T, address courier.Address) redis.UniversalClient {
	t.Helper()
	rdb, err := courier.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// Redis is reached in every way that people run it, and found fit.
func TestConnect(t *testing.T) {
	t.Parallel()
	single := func(options redistest.Options) func(*testing.T) courier.Address {
		return func(t *testing.T) courier.Address {
			t.Helper()
			options.AOF = "everysec"
			server := redistest.StartServer(t, options)
			return courier.Address{URL: server.URL, CAFile: server.CAFile, CertFile: server.CertFile, KeyFile: server.KeyFile}
		}
	}
	tests := []struct {
		name    string
		address func(*testing.T) courier.Address
	}{
		{"single", single(redistest.Options{})},
		{"password", single(redistest.Options{Password: "p@ss/w?rd#%:"})},
		{"user", single(redistest.Options{User: "app", Password: "secret"})},
		{"TLS with an authority of one's own and client certificates", single(redistest.Options{TLS: true, TLSClients: true, Password: "secret"})},
		{"Valkey", single(redistest.Options{Program: "valkey-server"})},
		{"socket", func(t *testing.T) courier.Address {
			t.Helper()
			server := redistest.StartServer(t, redistest.Options{User: "app", Password: "secret", AOF: "everysec"})
			return courier.Address{URL: "unix://app:secret@" + server.Socket + "?db=1"}
		}},
		{"TLS without a client certificate", func(t *testing.T) courier.Address {
			t.Helper()
			server := redistest.StartServer(t, redistest.Options{TLS: true, AOF: "everysec"})
			return courier.Address{URL: server.URL, CAFile: server.CAFile}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rdb := connect(t, test.address(t))
			if warnings, err := courier.Check(t.Context(), rdb); err != nil || len(warnings) > 0 {
				t.Errorf("check: %q, %v", warnings, err)
			}
			if err := rdb.Set(t.Context(), "key", "x", 0).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The database that an address names is the one that is used.
func TestConnectDatabase(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	for _, address := range []string{server.URL + "/2", "unix://" + server.Socket + "?db=3"} {
		if err := connect(t, courier.Address{URL: address}).Set(t.Context(), "key", "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	keyspace := server.Client.Info(t.Context(), "keyspace").Val()
	if !strings.Contains(keyspace, "db2:keys=1") || !strings.Contains(keyspace, "db3:keys=1") || strings.Contains(keyspace, "db0:") {
		t.Errorf("keys lie in %q, want one each in databases 2 and 3", keyspace)
	}
}

// Through Sentinels the master is found, and found again when another server has become it.
func TestConnectSentinel(t *testing.T) {
	t.Parallel()
	for name, password := range map[string]string{"open": "", "with passwords": "secret"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sentinel := redistest.StartSentinel(t, password)
			rdb := connect(t, courier.Address{URL: sentinel.URL})
			warnings, err := courier.Check(t.Context(), rdb)
			if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "append-only") {
				t.Errorf("check: %q, %v; want only that there is no append-only file", warnings, err)
			}
			sentinel.Master.Kill()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for rdb.Set(ctx, "key", "x", 0).Err() != nil {
				if ctx.Err() != nil {
					t.Fatal("no master was found after the first was killed")
				}
			}
			if got := sentinel.Replica.Client.Get(t.Context(), "key").Val(); got != "x" {
				t.Errorf("the new master has %q, want what was written", got)
			}
		})
	}
}

// A cluster is checked at all of its masters.
func TestConnectCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	rdb := connect(t, courier.Address{URL: cluster.URL})
	warnings, err := courier.Check(t.Context(), rdb)
	if err != nil || len(warnings) != 1 {
		t.Fatalf("check: %q, %v; want one warning", warnings, err)
	}
	for _, node := range cluster.Nodes {
		if !strings.Contains(warnings[0], node.Addr) {
			t.Errorf("node %s is not in the warning %q", node.Addr, warnings[0])
		}
	}
	for _, setting := range [][2]string{{"maxmemory", "100mb"}, {"maxmemory-policy", "allkeys-lru"}} {
		if err := cluster.Nodes[2].Client.ConfigSet(t.Context(), setting[0], setting[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := courier.Check(t.Context(), rdb); err == nil || !strings.Contains(err.Error(), cluster.Nodes[2].Addr+": it evicts") {
		t.Errorf("check: %v; want that the third node evicts", err)
	}
}

// What is wrong with an address or a server is said in words that lead on, without the password.
func TestCheckErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options redistest.Options
		address func(*redistest.Server) courier.Address
		want    string
		// patience is for what is never answered; default that of Check.
		patience time.Duration
	}{
		{"no password", redistest.Options{Password: "secret"}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: "redis://" + s.Addr}
		}, "it wants a password", 0},
		{"wrong password", redistest.Options{Password: "secret"}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: "redis://:hunter2@" + s.Addr}
		}, "user or password of its address are wrong", 0},
		{"wrong user", redistest.Options{User: "app", Password: "secret"}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: "redis://ape:hunter2@" + s.Addr}
		}, "user or password of its address are wrong", 0},
		{"plain to TLS", redistest.Options{TLS: true}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: "redis://" + s.Addr}
		}, "write rediss:// for redis://", 0},
		// It waits for the end of what is a line to it.
		{"TLS to plain", redistest.Options{}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: "rediss://" + s.Addr}
		}, "whether TLS (rediss://) is spoken there", 2 * time.Second},
		{"unknown authority", redistest.Options{TLS: true}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: s.URL}
		}, "give the certificate of the authority", 0},
		{"no client certificate", redistest.Options{TLS: true, TLSClients: true}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: s.URL, CAFile: s.CAFile}
		}, "give a certificate and key of this client", 0},
		{"no cluster", redistest.Options{}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: "redis+cluster://" + s.Addr}
		}, "write redis:// for redis+cluster://", 0},
		{"evicts", redistest.Options{MaxMemory: "100mb", Policy: "allkeys-lru"}, func(s *redistest.Server) courier.Address {
			return courier.Address{URL: s.URL}
		}, "maxmemory-policy noeviction", 0},
		{"nobody there", redistest.Options{}, func(s *redistest.Server) courier.Address {
			s.Kill()
			return courier.Address{URL: s.URL}
		}, "connection refused", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rdb := connect(t, test.address(redistest.StartServer(t, test.options)))
			ctx := t.Context()
			if test.patience > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.patience)
				defer cancel()
			}
			_, err := courier.Check(ctx, rdb)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want words of %q and no password", err, test.want)
			}
		})
	}
}

// Servers of a group that are given as if they were alone are recognised.
func TestCheckRoles(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t, "")
	watching, _, _ := strings.Cut(strings.TrimPrefix(sentinel.URL, "redis+sentinel://"), "/")
	tests := []struct{ name, url, want string }{
		{"Sentinel", "redis://" + watching, "it is a Sentinel"},
		{"replica", sentinel.Replica.URL, "it is a replica"},
		{"node", redistest.StartCluster(t).Nodes[0].URL, "it is a node of a cluster"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := courier.Check(t.Context(), connect(t, courier.Address{URL: test.url})); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want words of %q", err, test.want)
			}
		})
	}
}

// Certificates that can't be used are reported before anything is sent.
func TestConnectErrors(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		address courier.Address
		want    string
	}{
		{"address", courier.Address{URL: "redis://h:port"}, "a port is a number"},
		{"authority without TLS", courier.Address{URL: "redis://h", CAFile: empty}, "write rediss://"},
		{"certificate without TLS", courier.Address{URL: "unix:///s", CertFile: empty, KeyFile: empty}, "write rediss://"},
		{"no authority's file", courier.Address{URL: "rediss://h", CAFile: empty + ".not"}, "no such file"},
		{"no authority in the file", courier.Address{URL: "rediss://h", CAFile: empty}, "holds none in PEM form"},
		{"certificate alone", courier.Address{URL: "rediss://h", CertFile: empty}, "needs two files"},
		{"key alone", courier.Address{URL: "rediss://h", KeyFile: empty}, "needs two files"},
		{"no certificate in the file", courier.Address{URL: "rediss://h", CertFile: empty, KeyFile: empty}, "read client certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := courier.Connect(test.address); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want words of %q", err, test.want)
			}
		})
	}
}

// clockHook makes INFO tell another time, or none, and counts how often TIME is asked instead.
type clockHook struct {
	line  string // in place of the one with the time
	asked *atomic.Int64
}

func (clockHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (clockHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h clockHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, command)
		switch c := command.(type) {
		case *redis.TimeCmd:
			h.asked.Add(1)
		case *redis.StringCmd:
			c.SetVal(serverTime.ReplaceAllString(c.Val(), h.line))
		}
		return err
	}
}

var serverTime = regexp.MustCompile(`server_time_usec:\d+`)

// The clock is compared by INFO where it tells the time, else by TIME.
func TestCheckClock(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, line string
		asked      int64
		want       string
	}{
		{"INFO tells the time", "$0", 0, ""},
		{"INFO tells another time", "server_time_usec:1000000", 0, "behind this machine's"},
		{"INFO tells none", "", 1, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartServer(t, redistest.Options{AOF: "everysec"})
			rdb := connect(t, courier.Address{URL: server.URL})
			var asked atomic.Int64
			rdb.AddHook(clockHook{test.line, &asked})
			warnings, err := courier.Check(t.Context(), rdb)
			if len(warnings) > 0 || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("check: %q, %v; want %q", warnings, err, test.want)
			}
			if asked.Load() != test.asked {
				t.Errorf("TIME was asked %d times, want %d", asked.Load(), test.asked)
			}
		})
	}
}
