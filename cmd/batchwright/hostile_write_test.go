package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/redis/go-redis/v9"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// hostileRun is a run that the attacker has planted. It has a coordinator for ever, as far as Redis can tell.
type hostileRun struct {
	h     *hostile
	id    string
	owner *courier.Owner
	first courier.Number
}

// run plants a run with a hand-out, just as a coordinator would: what is wrong with it is for the caller to write.
func (h *hostile) run(id, baseURL, prompt string) *hostileRun {
	h.t.Helper()
	ctx := h.t.Context()
	terms := courier.Terms{BaseURL: baseURL, APIVersion: "2023-06-01", Timeout: time.Minute, MaxAttempts: 8}
	owner, err := courier.Own(ctx, h.rdb, id, 0, courier.OwnerOptions{Terms: terms})
	if err != nil {
		h.t.Fatal(err)
	}
	r := &hostileRun{h: h, id: id, owner: owner}
	r.first = r.handOut(prompt)
	if err := owner.Close(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.set(r.key("owner"), fmt.Sprintf("%d:attacker", owner.Epoch()))
	h.planted = append(h.planted, id)
	if baseURL != "http://"+h.api {
		h.refused++
	}
	return r
}

// key is the name of one of the run's keys.
func (r *hostileRun) key(name string) string { return "bw:{" + r.id + "}:" + name }

// handOut hands a prompt out to the run's workers.
func (r *hostileRun) handOut(prompt string) courier.Number {
	r.h.t.Helper()
	body, err := json.Marshal(map[string]any{
		"model": "m", "max_tokens": 1, "messages": []map[string]string{{"role": "user", "content": prompt}},
	})
	if err != nil {
		r.h.t.Fatal(err)
	}
	return r.handOutBody(body)
}

func (r *hostileRun) handOutBody(body []byte) courier.Number {
	r.h.t.Helper()
	n := r.owner.Next()
	if err := r.owner.HandOut(r.h.t.Context(), n, []jobs.Request{{Digest: jobs.DigestOf(body), Body: body}}, courier.New); err != nil {
		r.h.t.Fatal(err)
	}
	return n
}

// did fails the test when Redis refused a command.
func (h *hostile) did(command redis.Cmder) {
	h.t.Helper()
	if err := command.Err(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hostile) set(key, value string) {
	h.t.Helper()
	h.did(h.rdb.Set(h.t.Context(), key, value, 0))
}

// changeTerms writes raw text in the place of one value of a run's terms.
func (r *hostileRun) changeTerms(path, raw string) {
	r.h.t.Helper()
	terms, err := r.h.rdb.Get(r.h.t.Context(), r.key("terms")).Result()
	if err != nil {
		r.h.t.Fatal(err)
	}
	changed, err := sjson.SetRaw(terms, path, raw)
	if err != nil {
		r.h.t.Fatal(err)
	}
	r.h.set(r.key("terms"), changed)
}

// junkHandOuts are hand-outs as nobody stores them, made from the one that was stored first.
func (r *hostileRun) junkHandOuts() [][]byte {
	r.h.t.Helper()
	stored, err := r.h.rdb.HGet(r.h.t.Context(), r.key("handouts"), r.first.String()).Bytes()
	if err != nil {
		r.h.t.Fatal(err)
	}
	head, sealed, found := bytes.Cut(stored, []byte("\n"))
	if !found {
		r.h.t.Fatalf("a hand-out is stored as %q", stored)
	}
	head, format := append(head, '\n'), sealed[:1]
	join := slices.Concat[[]byte]
	packed := func(raw ...[]byte) []byte { return join(head, format, s2.Encode(nil, join(raw...))) }
	count := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	of := func(records string) []byte { return join(head[:len(head)-len("0\n")], []byte(records+"\n"), sealed) }
	none, all := make([]byte, 16), bytes.Repeat([]byte{0xff}, 1<<20)
	junk := [][]byte{
		nil, []byte("\n"), []byte("junk"), bytes.TrimRight(head, "\n"), head, join(head, format), join(head, []byte("junk")),
		// Of other versions, inside and out.
		join(head, []byte{format[0] + 1}, sealed[1:]), join([]byte("9"), head[1:], sealed), join([]byte("-"), head, sealed),
		// Of records that can't be.
		of("0-9223372036854775807"), of("-1"), of(""), of(strings.Repeat("0,", 1<<16) + "0"),
		// Larger than said, or said to be larger than they are.
		join(stored, []byte("x")), join(stored, sealed), join(head, format, count(1<<32), sealed[1:]),
		join(head, format, count(256<<20), sealed[1:]), join(head, format, count(1<<63), sealed[1:]), join(head, format, all), packed(make([]byte, 8<<20)),
		// Of more requests than there are bytes for.
		packed(), packed([]byte{0}), packed([]byte{0}, count(0)), packed([]byte{1}, count(1)), packed([]byte{0}, count(1<<12)),
		packed([]byte{0}, count(1<<20), make([]byte, 1<<20)), packed([]byte{0}, count(1<<63)), packed([]byte{0}, all[:20]),
		// With a body that is longer than all of it, and with numbers as large as they come.
		packed([]byte{0}, count(1), count(0), none, count(0), count(0), count(0), count(1<<62)),
		packed([]byte{0}, count(1), count(1<<63), none, count(1<<63), count(1<<63), count(1<<63), count(2), []byte("{}")),
	}
	for at := range len(sealed) {
		junk = append(junk, slices.Concat(head, sealed[:at]))
		if at > 3 { // before lies whether it is tried alone, which would hold up all others
			flipped := bytes.Clone(stored)
			flipped[len(head)+at] ^= 0x20
			junk = append(junk, flipped)
		}
	}
	return junk
}

// junkFields are claims or beats that nobody can have written, and beats that are lies.
func (r *hostileRun) junkFields() map[string]any {
	r.h.t.Helper()
	terms, err := r.h.rdb.Get(r.h.t.Context(), r.key("terms")).Result()
	if err != nil {
		r.h.t.Fatal(err)
	}
	version := gjson.Get(terms, "version").Int()
	return map[string]any{
		"": "", "x": "junk", "-1": "w 0", "0": "w 0-9223372036854775807", "1": " ", "2": "w", "18446744073709551615": "w -1", "18446744073709551616": "w 0",
		"3": "w " + strings.Repeat("0,", 1<<16), "w1": "{", "w2": strings.Repeat("[", 1<<16), "w3": fmt.Sprintf(`{"version":%d,"count":-1}`, version),
		"w4": fmt.Sprintf(`{"version":%d,"count":1,"slots":-9223372036854775808,"in_flight":-1,"waiting":-1,"held":[0]}`, version),
		"w5": fmt.Sprintf(`{"version":%d,"count":18446744073709551615,"slots":9223372036854775807,"in_flight":9223372036854775807,"why":%q,"refused":"x"}`,
			version, strings.Repeat("x", 1<<16)),
	}
}

// attackRunningRun writes into the one run that the attacker has not planted.
func (h *hostile) attackRunningRun() {
	h.t.Helper()
	ctx := h.t.Context()
	ids, err := courier.Runs(ctx, h.rdb)
	if err != nil {
		h.t.Fatal(err)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(h.planted, id) })
	if len(ids) != 1 {
		h.t.Fatalf("honest runs %q", ids)
	}
	r := &hostileRun{h: h, id: ids[0]}
	fields := r.junkFields()
	for _, name := range []string{"claims", "workers", "handouts"} {
		h.did(h.rdb.HSet(ctx, r.key(name), fields))
	}
	for _, values := range []map[string]any{{"b": ""}, {"b": "junk"}, {"b": strings.Repeat("\xff", 1<<20)}, {"x": "y"}} {
		h.did(h.rdb.XAdd(ctx, &redis.XAddArgs{Stream: r.key("results"), Values: values}))
	}
	h.did(h.rdb.RPush(ctx, r.key("asks"), "", "junk", strings.Repeat("\x03", 1<<20)))
	h.did(h.rdb.LPush(ctx, "asynq:{"+r.id+"}:pending", "no such task"))
	h.set(r.key("status"), "junk")
	r.changeTerms("base_url", strconv.Quote("http://"+h.attacker)) // the worker has joined
}
