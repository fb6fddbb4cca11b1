package courier

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What servers tell of themselves, shortened to what a check reads and some lines about it.
const (
	redis70 = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\ntcp_port:6379\r\nserver_time_usec:1795391410353720\r\n\r\n" +
		"# Memory\r\nmaxmemory:1073741824\r\nmaxmemory_human:1.00G\r\nmaxmemory_policy:noeviction\r\n\r\n" +
		"# Persistence\r\nloading:0\r\naof_enabled:1\r\n\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n" +
		"# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n"
	valkey80 = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\nserver_mode:standalone\r\n" +
		"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\n"
	keydb63 = "# Server\r\nredis_version:6.3.4\r\nredis_mode:standalone\r\nserver_threads:2\r\n# Memory\r\nmaxmemory:0\r\n" +
		"maxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:active-replica\r\n# KeyDB\r\nmvcc_depth:0\r\n"
)

// Every answer that a server may give has one meaning for runs.
func TestJudge(t *testing.T) {
	t.Parallel()
	// with is Redis 7.0 with other values of some fields: NAME:VALUE, or NAME alone for a field that is not there.
	with := func(changes ...string) string {
		told := parseInfo(redis70)
		for _, change := range changes {
			name, value, found := strings.Cut(change, ":")
			if delete(told, name); found {
				told[name] = value
			}
		}
		var text strings.Builder
		for name, value := range told {
			text.WriteString(name + ":" + value + "\r\n")
		}
		return text.String()
	}
	tests := []struct {
		name      string
		info      string
		ahead     time.Duration
		clustered bool
		warnings  []string // words of each
		problems  []string
	}{
		{name: "Redis 6.2", info: with("redis_version:6.2.14")},
		{name: "Redis 7.0", info: redis70},
		{name: "Redis 7.4", info: with("redis_version:7.4.1")},
		{name: "Redis 8", info: with("redis_version:8.0.3")},
		{name: "Redis 10", info: with("redis_version:10.0.0")},
		{name: "Valkey 8", info: valkey80},
		{name: "KeyDB", info: keydb63},
		{name: "Redis 6.0", info: with("redis_version:6.0.16"), problems: []string{"it is Redis 6.0.16: Redis 6.2 or later"}},
		{name: "Redis 5", info: with("redis_version:5.0.14"), problems: []string{"it is Redis 5.0.14"}},
		{name: "version of another kind", info: with("redis_version:next"), warnings: []string{`"next"`}},
		{name: "no version", info: with("redis_version"), warnings: []string{"does not tell its version"}},

		{name: "evicts", info: with("maxmemory_policy:allkeys-lru"), problems: []string{"it evicts (allkeys-lru)"}},
		{name: "evicts what has a time to live", info: with("maxmemory_policy:volatile-lru"), problems: []string{"it evicts (volatile-lru)"}},
		{
			name: "evicts, and does not tell at which size", info: with("maxmemory_policy:volatile-ttl", "maxmemory"),
			problems: []string{"it evicts (volatile-ttl)"},
		},
		{
			name: "would evict", info: with("maxmemory_policy:allkeys-lfu", "maxmemory:0"),
			warnings: []string{"would evict (allkeys-lfu) if maxmemory were set"},
		},
		{name: "no bound", info: with("maxmemory:0")},
		{name: "no AOF", info: with("aof_enabled:0"), warnings: []string{"keeps no append-only file"}},
		{
			name: "managed, with few sections", info: "# Server\r\nredis_version:7.1.0\r\nredis_mode:standalone\r\n",
			warnings: []string{"maxmemory_policy", "whether it keeps an append-only file"},
		},
		{name: "nothing", info: "", warnings: []string{"version", "maxmemory_policy", "append-only"}},

		{name: "Sentinel", info: with("redis_mode:sentinel"), problems: []string{"redis+sentinel://"}},
		{name: "Sentinel of Valkey", info: with("redis_mode", "server_mode:sentinel"), problems: []string{"redis+sentinel://"}},
		{name: "node of a cluster", info: with("redis_mode:cluster"), problems: []string{"write redis+cluster://"}},
		{name: "node of a Valkey cluster", info: with("redis_mode", "server_mode:cluster"), problems: []string{"write redis+cluster://"}},
		{name: "cluster", info: with("redis_mode:cluster"), clustered: true},
		{name: "replica", info: with("role:slave"), problems: []string{"it is a replica"}},

		{name: "clock 5 s ahead", info: redis70, ahead: 5 * time.Second},
		{name: "clock 6 s ahead", info: redis70, ahead: 6 * time.Second, warnings: []string{"6s ahead of this machine's"}},
		{name: "clock 6 s behind", info: redis70, ahead: -6 * time.Second, warnings: []string{"6s behind this machine's"}},
		{name: "clock 20 s behind", info: redis70, ahead: -20 * time.Second, warnings: []string{"20s behind"}},
		{name: "clock 21 s ahead", info: redis70, ahead: 21 * time.Second, problems: []string{"21s ahead of"}},
		{name: "clock 21 s behind", info: redis70, ahead: -21 * time.Second, problems: []string{"21s behind"}},
		{
			name: "several at once", info: with("redis_version:4.0.9", "maxmemory_policy:allkeys-random", "aof_enabled:0"), ahead: time.Hour,
			warnings: []string{"append-only"}, problems: []string{"4.0.9", "allkeys-random", "1h0m0s ahead"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			found := judge(parseInfo(test.info), test.ahead, test.clustered)
			says(t, "warning", found.warnings, test.warnings)
			says(t, "problem", found.problems, test.problems)
			if err := found.error(); (err != nil) != (len(test.problems) > 0) || err != nil && !errors.Is(err, ErrUnfit) {
				t.Errorf("error %v with %d problems", err, len(test.problems))
			}
		})
	}
}

// says checks that each text has the words that are wanted of it.
func says(t *testing.T, kind string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%ss %q, want %d: %q", kind, got, len(want), want)
		return
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s %q, want words of %q", kind, got[i], want[i])
		}
	}
}

// A clock is held to be wrong by no more than the reply's way can't explain.
func TestSkew(t *testing.T) {
	t.Parallel()
	at := func(seconds int64) time.Time { return time.Unix(1000+seconds, 0) }
	tests := []struct {
		name                  string
		before, server, after int64
		want                  time.Duration
	}{
		{"equal", 0, 0, 0, 0},
		{"within the way there and back", 0, 7, 30, 0},
		{"at its end", 0, 30, 30, 0},
		{"ahead", 0, 40, 30, 10 * time.Second},
		{"behind", 0, -4, 30, -4 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := skew(at(test.before), at(test.server), at(test.after)); got != test.want {
				t.Errorf("skew %s, want %s", got, test.want)
			}
		})
	}
}

// The clock is read where INFO tells it.
func TestInfoClock(t *testing.T) {
	t.Parallel()
	if clock, ok := parseInfo(redis70).clock(); !ok || !clock.Equal(time.UnixMicro(1795391410353720)) {
		t.Errorf("clock %s, %v", clock, ok)
	}
	if clock, ok := parseInfo(valkey80).clock(); ok {
		t.Errorf("clock %s of a server that tells none", clock)
	}
}

// In a cluster a person learns which nodes a finding is about, and each finding once.
func TestMerge(t *testing.T) {
	t.Parallel()
	got := merge(map[string]findings{
		"b:1": {warnings: []string{"no aof", "late"}, problems: []string{"evicts"}},
		"a:1": {warnings: []string{"no aof"}},
		"c:1": {},
	})
	want := findings{warnings: []string{"b:1: late", "a:1, b:1: no aof"}, problems: []string{"b:1: evicts"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(findings{})); diff != "" {
		t.Errorf("findings of a cluster (-want +got):\n%s", diff)
	}
}

// Any text is judged without a panic, and what is refused has a reason.
func FuzzJudge(f *testing.F) {
	for _, text := range []string{redis70, valkey80, keydb63, "", ":", "redis_version:\nserver_time_usec:99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		told := parseInfo(text)
		if clock, ok := told.clock(); ok {
			skew(time.Unix(0, 0), clock, time.Unix(1, 0))
		}
		if found := judge(told, 0, false); (found.error() != nil) != (len(found.problems) > 0) {
			t.Errorf("error %v with problems %q", found.error(), found.problems)
		}
	})
}
