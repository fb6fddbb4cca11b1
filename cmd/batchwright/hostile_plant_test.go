package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// hostile is somebody who may write all of a Redis.
type hostile struct {
	t        *testing.T
	rdb      *redis.Client
	api      string   // HOST:PORT of the API that the worker was started with
	attacker string   // HOST:PORT of the attacker's own
	bait     string   // path of a file that the worker should not read
	planted  []string // ids of runs
	refused  int      // how many of them lead elsewhere
}

// What the calls for the last of the planted runs, and for the last hand-out of the run with junk in it, hold.
const (
	lastOfAll    = "the last of all runs"
	afterTheJunk = "after the junk"
)

// redirects are the calls that the API answers by sending the caller to the attacker.
var redirects = []string{"redirect 301", "redirect 302", "redirect 303", "redirect 307", "redirect 308"}

// plantAll plants the runs that wait for a worker. What it returns changes the terms of one that a worker serves, and
// hands out more of it.
func (h *hostile) plantAll() (switchAddress func()) {
	h.t.Helper()
	h.plantAddresses()
	h.plantIDs()
	h.plantTerms()
	h.plantKeys()
	h.plantJunk()
	for _, call := range redirects {
		h.run(call, "http://"+h.api, call)
	}
	switched := h.run("switched", "http://"+h.api, "before the switch")
	last := h.run("last", "http://"+h.api, lastOfAll)
	// A worker goes through the runs by their score.
	h.did(h.rdb.ZAdd(h.t.Context(), "bw:runs", redis.Z{Score: math.Inf(1), Member: last.id}))
	return func() {
		switched.changeTerms("base_url", strconv.Quote("http://"+h.attacker))
		switched.handOut("after the switch")
	}
}

// plantAddresses plants runs whose calls go elsewhere, or seem to go where the worker may send its key.
func (h *hostile) plantAddresses() {
	h.t.Helper()
	api, evil := h.api, h.attacker
	host, port, _ := strings.Cut(evil, ":")
	for i, address := range []string{
		// The attacker's own, plain and in disguise.
		"http://" + evil, "http://" + evil + "/", "HTTP://" + evil, "https://" + evil, "//" + evil, evil,
		"http://localhost:" + port, "http://LOCALHOST:" + port, "http://localhost.:" + port, "http://" + host + ".:" + port,
		"http://2130706433:" + port, "http://0x7f000001:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://0:" + port,
		"http://" + host + ":0" + port, "http://" + evil + "/http://" + api, "http://" + evil + "?http://" + api,
		"http://" + evil + "#" + api, " http://" + evil, "http://" + evil + "\n", "\thttp://" + evil, "http://" + evil + "\x00",
		// With the right one in the place of the user, and the other way round.
		"http://" + api + "@" + evil, "http://" + api + ":pw@" + evil, "http://" + strings.ReplaceAll(api, ":", "%3A") + "@" + evil,
		"http://" + api + `\@` + evil, "http://" + api + "#@" + evil, "http://" + api + "?@" + evil, "http://" + api + "/@" + evil,
		"http://user:pw@" + evil, "http://" + evil + "@" + api, "http://" + api + "\n@" + evil, "http://" + api + "/../../@" + evil,
		// What might be filled in.
		"http://${ANTHROPIC_API_KEY}@" + evil, "http://" + evil + "/$ANTHROPIC_API_KEY", "http://" + evil + `/{{env "ANTHROPIC_API_KEY"}}`,
		"http://" + evil + "/%s%n",
		// What is no address of an API.
		"file:///etc/passwd", "file://" + h.bait, h.bait, "../bait", "unix://" + h.bait, "http+unix://" + strings.ReplaceAll(h.bait, "/", "%2F"),
		"ftp://" + evil, "gopher://" + evil, "redis://" + evil, "javascript:alert(1)", "data:,x", "", "/", "http://", ":", "%zz",
		"http://" + evil + "/" + strings.Repeat("x", 1<<16),
	} {
		h.run(fmt.Sprint("address", i), address, "for an address")
	}
}

// plantIDs plants runs with ids that are no names.
func (h *hostile) plantIDs() {
	h.t.Helper()
	for _, id := range []string{
		"../../x", "../../../tmp/x", h.bait, "/etc/passwd", "..", ".", "~", "a}b{c", "{}", "}", "{", "a b", "a\nb", "a\rb", "\x00",
		"%s%n%d", "$(id)", "`id`", "\x1b[2J", "asynq:{x}:pending", "bw:{x}:terms", "*", "[a-z]",
		strings.Repeat("x", 1<<12), strings.Repeat("../", 100) + "x",
	} {
		h.run(id, "http://"+h.api, "of run "+id)
		h.run(id+"e", "http://"+h.attacker, "of run "+id)
	}
	for _, id := range []string{"", " ", "\xff\xfe", "nothing of it is there"} {
		h.did(h.rdb.ZAdd(h.t.Context(), "bw:runs", redis.Z{Score: float64(time.Now().Unix()), Member: id}))
		h.planted = append(h.planted, id)
	}
}

// plantTerms plants runs with terms that no coordinator writes. Where they can be read at all, their calls go to the API.
func (h *hostile) plantTerms() {
	h.t.Helper()
	for path, values := range map[string][]string{
		"timeout_ns":                      {"-1", "9223372036854775807", "-9223372036854775808", "1e308", `"1h"`},
		"max_attempts":                    {"-1", "0", "9223372036854775807", "NaN"},
		"limits":                          {"[]", "null", `{"headroom":-1e308,"requests_per_minute":9223372036854775807}`, `{"headroom":1e308,"requests_per_minute":1}`},
		"limits.concurrency":              {"-1", "9223372036854775807", "1e19"},
		"limits.requests_per_minute":      {"-1", "9223372036854775807"},
		"limits.input_tokens_per_minute":  {"-9223372036854775808"},
		"limits.output_tokens_per_minute": {"9223372036854775807"},
		"limits.headroom":                 {"NaN", "1", `"20%"`, `{"windows":[{"when":"00:00-24:00 ../../etc/passwd","share":0.5}]}`, `{"windows":[` + strings.Repeat("{},", 1<<13) + "{}]}"},
		"limits.weight":                   {"NaN", "Infinity", "1e999", "-1", "1e308", "-1e308", "5e-324"},
		"version":                         {"-1", "99", `"3"`},
		"epoch":                           {"-1", "4294967296"},
		"stream":                          {"true", "7"},
		"beta":                            {`["x\r\nHost: evil"]`, `["x\r\n\r\nPOST / HTTP/1.1"]`, "7"},
		"api_version":                     {`"1\r\nX-Evil: 1"`, `"\u0000"`, `""`},
		"key":                             {`"deadbeef"`},
		"base_url":                        {"null", "7", `["http://` + h.api + `"]`, `{"":"http://` + h.attacker + `"}`},
	} {
		for _, value := range values {
			h.run(path+" "+value, "http://"+h.api, "with terms").changeTerms(path, value)
		}
	}
	for i, text := range []string{
		"", "x", "{", "[]", "null", "true", `""`, "\x00", "{}", strings.Repeat("[", 1<<20), strings.Repeat(`{"base_url":`, 1<<16),
		strings.Repeat("x", 4<<20),
	} {
		r := h.run(fmt.Sprint("text", i), "http://"+h.api, "text")
		h.set(r.key("terms"), text)
	}
	// The last of a name counts, whatever its case.
	h.run("twice", "http://"+h.api, "twice").changeTerms("key", `"","BASE_URL":"http://`+h.attacker+`"`)
}

// plantKeys plants runs of which one key is another kind of value than it should be, or says what nobody says.
func (h *hostile) plantKeys() {
	h.t.Helper()
	for _, name := range []string{"owner", "epoch", "beat", "control", "handouts", "claims", "workers", "terms", "status"} {
		r := h.run("kind "+name, "http://"+h.api, "kind "+name)
		h.did(h.rdb.Del(h.t.Context(), r.key(name)))
		h.did(h.rdb.SAdd(h.t.Context(), r.key(name), "x"))
	}
	for _, name := range []string{"lease", "scheduled", "retry", "archived", "completed", "paused", "t:", "processed", "failed"} {
		r := h.run("queue "+name, "http://"+h.api, "queue "+name)
		if name == "t:" {
			name += r.first.String()
		}
		h.did(h.rdb.Del(h.t.Context(), "asynq:{"+r.id+"}:"+name))
		h.did(h.rdb.SAdd(h.t.Context(), "asynq:{"+r.id+"}:"+name, "x"))
	}
	for name, values := range map[string][]string{
		"control": {"junk", "\x00", strings.Repeat("x", 1<<20)},
		"beat":    {"junk", "-1 nobody"},
		"epoch":   {"junk", "-1", "1e308", strings.Repeat("9", 1000)},
		"status":  {"junk", strings.Repeat("[", 1<<20)},
		"owner":   {"", "junk", "nan:x", strings.Repeat("9", 1000) + ":x"},
	} {
		for i, value := range values {
			r := h.run(fmt.Sprint(name, i), "http://"+h.api, "with keys")
			h.set(r.key(name), value)
		}
	}
}

// plantJunk plants a run that a worker serves, and hand-outs, tasks, claims and beats in it that nobody can read. The
// last hand-out is a good one.
func (h *hostile) plantJunk() {
	h.t.Helper()
	ctx := h.t.Context()
	r := h.run("junk", "http://"+h.api, "before the junk")
	client := asynq.NewClientFromRedisClient(h.rdb)
	for i, payload := range [][]byte{nil, {0}, []byte("junk"), make([]byte, 9), bytes.Repeat([]byte{0xff}, 9), make([]byte, 1<<20)} {
		for _, kind := range []string{"handout", "junk", strings.Repeat("x", 1<<16)} {
			_, err := client.EnqueueContext(ctx, asynq.NewTask(kind, payload),
				asynq.Queue(r.id), asynq.TaskID(fmt.Sprint(kind[:1], i)), asynq.Timeout(-1), asynq.MaxRetry(i%2))
			if err != nil {
				h.t.Fatal(err)
			}
		}
	}
	for _, id := range []string{"", "x", "no such task", "\x00", "../../x", "}", strings.Repeat("x", 1<<16)} {
		h.did(h.rdb.LPush(ctx, "asynq:{junk}:pending", id))
	}
	h.did(h.rdb.HSet(ctx, "asynq:{junk}:t:x", "msg", "junk", "state", "pending"))
	h.did(h.rdb.ZAdd(ctx, "asynq:{junk}:scheduled", redis.Z{Member: "x"}, redis.Z{Member: "gone", Score: math.Inf(-1)}))
	h.did(h.rdb.ZAdd(ctx, "asynq:{junk}:lease", redis.Z{Member: "gone", Score: math.Inf(-1)}))
	h.did(h.rdb.HSet(ctx, r.key("claims"), r.junkFields()))
	h.did(h.rdb.HSet(ctx, r.key("workers"), r.junkFields()))
	for _, stored := range r.junkHandOuts() {
		n := r.handOut("junk")
		h.did(h.rdb.HSet(ctx, r.key("handouts"), n.String(), stored))
	}
	for _, body := range []string{
		"", "{", "null", `{"max_tokens":1e308}`, `{"max_tokens":-9223372036854775808,"model":{}}`, strings.Repeat("[", 1<<20),
		"\r\n\r\nPOST / HTTP/1.1\r\n\r\n",
	} {
		r.handOutBody([]byte(body))
	}
	r.handOut(afterTheJunk)
}
