package courier

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"

	"github.com/batchwright/batchwright/jobs"
)

// heavy reports whether what is sealed decompresses to more than a fuzz target has time for; the bound that holds
// otherwise is maxDecoded.
func heavy(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	size, err := s2.DecodedLen(data[1:])
	return err == nil && size > 1<<20
}

// A hand-out from Redis that is read is one that this build would write, and no other makes it panic.
func FuzzParseRequests(f *testing.F) {
	body := []byte(`{"model":"m"}`)
	f.Add(appendRequests(nil, false))
	f.Add(appendRequests([]jobs.Request{{Record: 7, Digest: jobs.DigestOf(body), Body: body, Attempts: 2, Calls: 3, Refusals: 1}}, true))
	f.Add(seal([]byte{0, 1}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if heavy(data) {
			return
		}
		requests, alone, err := parseRequests(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, stillAlone, err := parseRequests(appendRequests(requests, alone))
		if diff := cmp.Diff(requests, again); err != nil || alone != stillAlone || diff != "" {
			t.Errorf("written and read again, %v (-was +is):\n%s", err, diff)
		}
	})
}

// Results from Redis never make their reader panic, and what is cut or changed adds nothing.
func FuzzParseBatch(f *testing.F) {
	at := time.Unix(1700000000, 0).UTC()
	result := jobs.Result{Record: 3, Status: jobs.Succeeded, Message: []byte(`{"content":[]}`), FinishedAt: at}
	raw := appendDelivery(nil, &Delivery{Handout: 5, Result: &result})
	raw = appendDelivery(raw, &Delivery{Handout: 5, Returned: &Returned{Record: 4, Attempts: 1}})
	raw = appendNews(raw, News{Handout: 5, Record: 9})
	raw = appendNews(raw, News{Handout: 5, Record: 9, Ended: true})
	f.Add(seal(raw))
	f.Add(seal(raw[:len(raw)-3]))
	f.Add(seal(nil))
	f.Add([]byte{formatVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		if heavy(data) {
			return
		}
		var batch Batch
		if err := parseBatch(data, &batch); err != nil {
			if !errors.Is(err, ErrFormat) || len(batch.Deliveries)+len(batch.News) > 0 {
				t.Errorf("error %v with %d deliveries", err, len(batch.Deliveries))
			}
			return
		}
		for i := range batch.Deliveries {
			if d := &batch.Deliveries[i]; (d.Result == nil) == (d.Returned == nil) {
				t.Errorf("delivery %d is neither result nor record", i)
			}
			batch.Deliveries[i].Record()
		}
	})
}

// A claim that is read has few records, all of them numbers of records, and reads back as it was written.
func FuzzParseClaim(f *testing.F) {
	for _, text := range []string{"w1 7-12,15", "w1 0", "w1 0-9223372036854775807", "w1 -3", "w1 5-4", "w1", "", "w1 1,,2", "w1 3 0-4"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		claim, err := parseClaim(text)
		if err != nil {
			return
		}
		var records []int64
		for _, r := range claim.Records {
			for n := r.First; n <= r.Last; n++ {
				records = append(records, n)
			}
		}
		if len(records) == 0 || len(records) > maxRecords || records[0] < 0 {
			t.Fatalf("%q is a claim of %d records", text, len(records))
		}
		if !claim.Contains(records[0]) || claim.Contains(-1) {
			t.Errorf("%q: what it contains is not what it lists", text)
		}
	})
}

// A task that is read is written alike.
func FuzzParseTask(f *testing.F) {
	f.Add(newTask(numberOf(3, 9)).Payload())
	f.Add([]byte{formatVersion})
	f.Fuzz(func(t *testing.T, payload []byte) {
		n, err := parseTask(payload)
		if err == nil && !bytes.Equal(newTask(n).Payload(), payload) {
			t.Errorf("%x is hand-out %d, whose task is %x", payload, n, newTask(n).Payload())
		}
	})
}

// A request that changed on its way, so that it is not the one that its digest names, is not called.
func TestChangedRequest(t *testing.T) {
	t.Parallel()
	request := jobs.Request{Record: 1, Body: []byte(`{"model":"m"}`)}
	request.Digest = jobs.DigestOf([]byte(`{"model":"n"}`))
	if _, _, err := parseRequests(appendRequests([]jobs.Request{request}, false)); !errors.Is(err, ErrFormat) {
		t.Errorf("error %v", err)
	}
}

// A hand-out of more requests than any coordinator hands out is refused, before memory is taken for them: few bytes can
// claim to hold millions.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	requests := make([]jobs.Request, maxRecords+1)
	for i := range requests {
		requests[i].Digest = jobs.DigestOf(nil)
	}
	for name, sealed := range map[string][]byte{
		"one more than may be": appendRequests(requests, false),
		"more than can be":     seal(binary.AppendUvarint([]byte{0}, math.MaxUint64)),
	} {
		if _, _, err := parseRequests(sealed); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, _, err := parseRequests(appendRequests(requests[1:], false)); err != nil || len(got) != maxRecords {
		t.Errorf("as many as may be: %d, %v", len(got), err)
	}
}
