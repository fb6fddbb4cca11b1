package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// No process or goroutine of a server outlives its test.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a server holds after it was killed and started again depends on how it persists.
func TestPersistence(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options redistest.Options
		before  func(*redistest.Server) // between the first key and the second
		after   func(*redistest.Server) // between kill and restart
		want    int64                   // keys
	}{
		{name: "none", want: 0},
		{name: "saved between the keys", before: (*redistest.Server).Save, want: 1},
		{name: "append-only file", options: redistest.Options{AOF: "always"}, want: 2},
		{name: "append-only file, wiped", options: redistest.Options{AOF: "everysec"}, after: (*redistest.Server).Wipe, want: 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartServer(t, test.options)
			set(t, server.Client, "one")
			if test.before != nil {
				test.before(server)
			}
			set(t, server.Client, "two")
			server.Kill()
			if err := server.Client.Ping(t.Context()).Err(); err == nil {
				t.Fatal("the killed server answers")
			}
			if test.after != nil {
				test.after(server)
			}
			server.Restart()
			if got := keys(t, server.Client); got != test.want {
				t.Errorf("%d keys after the restart, want %d", got, test.want)
			}
		})
	}
}

// A restored snapshot brings back what was, however the server persists.
func TestRestore(t *testing.T) {
	t.Parallel()
	for _, aof := range []string{"", "everysec", "always"} {
		t.Run("aof "+aof, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartServer(t, redistest.Options{AOF: aof})
			set(t, server.Client, "one")
			snapshot := server.Snapshot()
			set(t, server.Client, "two")
			if err := server.Client.Del(t.Context(), "one").Err(); err != nil {
				t.Fatal(err)
			}
			server.Restore(snapshot)
			if got := server.Client.Keys(t.Context(), "*").Val(); len(got) != 1 || got[0] != "one" {
				t.Errorf("keys %q after the snapshot was restored, want the one that it had", got)
			}
		})
	}
}

// A paused server answers nobody, and goes on where it stopped.
func TestPause(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	set(t, server.Client, "one")
	server.Pause()
	waiting := redis.NewClient(&redis.Options{
		Addr: server.Addr, ReadTimeout: 100 * time.Millisecond, MaxRetries: -1, Protocol: 2, DisableIdentity: true,
	})
	defer waiting.Close()
	if err := waiting.Ping(t.Context()).Err(); err == nil {
		t.Error("the paused server answers")
	}
	server.Continue()
	if got := keys(t, server.Client); got != 1 {
		t.Errorf("%d keys after the pause, want 1", got)
	}
}

// The client of a server with users is one of them; others are refused.
func TestPassword(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]redistest.Options{
		"password": {Password: "p w/@"},
		"user":     {User: "app", Password: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartServer(t, options)
			set(t, server.Client, "one")
			stranger := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2, DisableIdentity: true})
			defer stranger.Close()
			if err := stranger.Ping(t.Context()).Err(); err == nil {
				t.Error("a client without a password is served")
			}
			parsed, err := redis.ParseURL(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			guest := redis.NewClient(parsed)
			defer guest.Close()
			set(t, guest, "two")
		})
	}
}

// A full server refuses what would make it larger.
func TestMaxMemory(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{MaxMemory: "3mb"})
	filler := make([]byte, 1<<20)
	var err error
	for i := 0; i < 8 && err == nil; i++ {
		err = server.Client.RPush(t.Context(), "list", filler).Err()
	}
	if !redis.HasErrorPrefix(err, "OOM") {
		t.Errorf("filling the server up ended with %v, want OOM", err)
	}
}

func set(t *testing.T, client redis.UniversalClient, key string) {
	t.Helper()
	if err := client.Set(t.Context(), key, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	size, err := client.DBSize(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// A key is served by the node that has its slot, and each node knows which that is.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	var seeds []string
	for _, node := range cluster.Nodes {
		seeds = append(seeds, node.Addr)
	}
	for _, seed := range seeds {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{seed}, Protocol: 2, DisableIdentity: true})
		defer client.Close()
		for _, key := range []string{"{a}", "{b}", "{c}", "{d}"} { // their slots are of all three nodes
			set(t, client, key+seed)
		}
	}
	var total int64
	for i, node := range cluster.Nodes {
		held := keys(t, node.Client)
		if held == 0 {
			t.Errorf("node %d has none of the keys", i)
		}
		total += held
	}
	if total != 12 {
		t.Errorf("%d keys in the cluster, want 12", total)
	}
}

// When the master is killed, the Sentinel makes the replica the master.
func TestSentinel(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"", "secret"} {
		t.Run("password "+password, func(t *testing.T) {
			t.Parallel()
			sentinel := redistest.StartSentinel(t, password)
			set(t, sentinel.Master.Client, "one")
			if err := sentinel.Master.Client.Wait(t.Context(), 1, 0).Err(); err != nil {
				t.Fatal(err)
			}
			sentinel.Master.Kill()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for sentinel.Replica.Client.Set(ctx, "two", "x", 0).Err() != nil {
				select {
				case <-ctx.Done():
					t.Fatal("the replica did not become the master")
				case <-tick.C:
				}
			}
			if got := keys(t, sentinel.Replica.Client); got != 2 {
				t.Errorf("%d keys at the new master, want 2", got)
			}
		})
	}
}
