package courier

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// Redis 6.2 brought ZRANGE … BYSCORE, which Asynq's scripts use, and XADD … NOMKSTREAM, which ours do. All of Valkey is
	// later.
	oldestMajor, oldestMinor = 6, 2
	// skewWarned and skewRefused bound how far clocks may be apart. Asynq takes a task for lost whose lease, of 30 s by
	// one machine's clock, is over by another's.
	skewWarned  = 5 * time.Second
	skewRefused = 20 * time.Second
)

// info is a reply to INFO: its fields, whatever their section. Managed Redis leaves some out.
type infoReply map[string]string

// parseInfo reads lines of NAME:VALUE and passes over all others.
func parseInfo(text string) infoReply {
	told := make(infoReply)
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			told[name] = value
		}
	}
	return told
}

// clock is the server's time when it replied.
func (i infoReply) clock() (time.Time, bool) {
	micros, err := strconv.ParseInt(i["server_time_usec"], 10, 64)
	return time.UnixMicro(micros), err == nil
}

// skew is how far a server's clock is at least ahead of this machine's (negative: behind), when it showed a time between
// two moments here. What the reply's way may have taken is not held against it.
func skew(before, server, after time.Time) time.Duration {
	switch {
	case server.Before(before):
		return server.Sub(before)
	case server.After(after):
		return server.Sub(after)
	}
	return 0
}

// findings are what a check has found: warnings, which a person should know of, and problems, with which runs can't work.
type findings struct{ warnings, problems []string }

func (f *findings) error() error {
	if len(f.problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnfit, strings.Join(f.problems, "; "))
}

func (f *findings) warn(format string, args ...any) {
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}

func (f *findings) refuse(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// judge decides what a server's reply to INFO and its clock mean for runs. In a cluster it is asked of each master.
func judge(told infoReply, ahead time.Duration, clustered bool) findings {
	var f findings
	f.judgeVersion(told)
	f.judgeRole(told, clustered)
	f.judgeMemory(told)
	switch aof, known := told["aof_enabled"]; {
	case !known:
		f.warn("it does not tell whether it keeps an append-only file: without one calls are paid again when it restarts")
	case aof == "0":
		f.warn("it keeps no append-only file: what is in it when it restarts is lost, and calls are paid again; set appendonly yes")
	}
	f.judgeClock(ahead)
	return f
}

func (f *findings) judgeVersion(told infoReply) {
	if told["server_name"] == "valkey" || told["valkey_version"] != "" {
		return
	}
	version, known := told["redis_version"]
	if !known {
		f.warn("it does not tell its version: Redis %d.%d or later or Valkey is needed", oldestMajor, oldestMinor)
		return
	}
	majorText, rest, _ := strings.Cut(version, ".")
	minorText, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(majorText)
	minor, minorErr := strconv.Atoi(minorText)
	switch {
	case err != nil || minorErr != nil:
		f.warn("it calls its version %q: Redis %d.%d or later or Valkey is needed", version, oldestMajor, oldestMinor)
	case major < oldestMajor || major == oldestMajor && minor < oldestMinor:
		f.refuse("it is Redis %s: Redis %d.%d or later or Valkey is needed", version, oldestMajor, oldestMinor)
	}
}

func (f *findings) judgeRole(told infoReply, clustered bool) {
	mode := told["redis_mode"] + told["server_mode"] // Valkey calls it by the second name
	switch {
	case mode == "sentinel":
		f.refuse("it is a Sentinel: write redis+sentinel://HOST:PORT/MASTER")
	case mode == "cluster" && !clustered:
		f.refuse("it is a node of a cluster: write redis+cluster:// for redis://")
	case told["role"] == "slave":
		f.refuse("it is a replica, which takes no writes: give the address of its master, or of Sentinels by redis+sentinel://")
	}
}

func (f *findings) judgeMemory(told infoReply) {
	const remedy = "set maxmemory-policy noeviction"
	policy, known := told["maxmemory_policy"]
	switch {
	case !known:
		f.warn("it does not tell its maxmemory_policy: it must not evict; %s", remedy)
	case policy == "noeviction":
	case told["maxmemory"] == "0":
		f.warn("it would evict (%s) if maxmemory were set, and work with it; %s", policy, remedy)
	default:
		f.refuse("it evicts (%s) when it is full, and work with it; %s (a managed Redis has a setting for it)", policy, remedy)
	}
}

func (f *findings) judgeClock(ahead time.Duration) {
	apart, direction := ahead, "ahead of"
	if ahead < 0 {
		apart, direction = -ahead, "behind"
	}
	const remedy = "let NTP set both"
	switch {
	case apart > skewRefused:
		f.refuse("its clock is %s %s this machine's; %s", apart.Round(time.Second), direction, remedy)
	case apart > skewWarned:
		f.warn("its clock is %s %s this machine's; %s", apart.Round(time.Second), direction, remedy)
	}
}
