package courier

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// formatVersion opens every hand-out, batch of deliveries and task. A reader that meets another version leaves
// what it found to others.
const formatVersion = 3

// maxDecoded bounds what a hand-out or a batch may decompress to, so that a hostile one can't exhaust memory. It
// is above anything a coordinator or worker makes: one record of the API's 32 MB and a chunk's bound beside it.
const maxDecoded = 256 << 20

// Delivery is what comes back for one record of a hand-out: a result, or the record itself.
type Delivery struct {
	Handout Number
	// Result is how the record ended, as the worker saw it; nil when Returned is set.
	Result *jobs.Result
	// Returned gives the record back unanswered.
	Returned *Returned
}

// Record is the number of the record that is delivered.
func (d *Delivery) Record() int64 {
	if d.Result != nil {
		return d.Result.Record
	}
	return d.Returned.Record
}

// Returned is a record that comes back without a result: it must wait long, its worker drains, or it is blocked.
type Returned struct {
	Record   int64       `json:"record"`
	Digest   jobs.Digest `json:"digest"`
	Attempts int         `json:"attempts,omitempty"`
	Calls    int         `json:"calls,omitempty"`
	Refusals int         `json:"refusals,omitempty"`
	// Earliest is when the record may be tried again; zero means at once.
	Earliest time.Time `json:"earliest,omitzero"`
	// Blocked says what a person must do before calls can go on; empty when nothing blocks.
	Blocked string `json:"blocked,omitempty"`
}

// News says that a call for a record of a hand-out has begun, or that it has ended and the record is not in flight any
// more, whether it has its result or waits for another call.
type News struct {
	Handout Number
	Record  int64
	Ended   bool
}

// appendRequests encodes the requests of a hand-out: version, then compressed whether each is to run alone, and per
// request its record number, digest, counts and body.
func appendRequests(requests []jobs.Request, alone bool) []byte {
	size := 0
	for i := range requests {
		size += len(requests[i].Body) + 48
	}
	raw := make([]byte, 0, size)
	raw = append(raw, 0)
	if alone {
		raw[0] = 1
	}
	raw = binary.AppendUvarint(raw, uint64(len(requests)))
	for i := range requests {
		r := &requests[i]
		raw = binary.AppendUvarint(raw, uint64(r.Record)) //nolint:gosec // record numbers are not negative
		raw = append(raw, r.Digest[:]...)
		raw = binary.AppendUvarint(raw, uint64(r.Attempts)) //nolint:gosec // counts are not negative
		raw = binary.AppendUvarint(raw, uint64(r.Calls))    //nolint:gosec // counts are not negative
		raw = binary.AppendUvarint(raw, uint64(r.Refusals)) //nolint:gosec // counts are not negative
		raw = appendBytes(raw, r.Body)
	}
	return seal(raw)
}

// parseRequests decodes what appendRequests encoded.
func parseRequests(data []byte) (requests []jobs.Request, alone bool, err error) {
	raw, err := unseal(data)
	if err != nil {
		return nil, false, err
	}
	d := decoder{rest: raw}
	alone = d.take(1)[0] == 1
	count := d.uvarint()
	if count > maxRecords {
		return nil, false, fmt.Errorf("%w: %d requests in %d bytes", ErrFormat, count, len(raw))
	}
	requests = make([]jobs.Request, count)
	for i := range requests {
		r := &requests[i]
		r.Record = int64(d.uvarint()) //nolint:gosec // checked by the digest
		copy(r.Digest[:], d.take(len(r.Digest)))
		r.Attempts, r.Calls, r.Refusals = d.count(), d.count(), d.count()
		if r.Body = d.bytes(); jobs.DigestOf(r.Body) != r.Digest {
			return nil, false, fmt.Errorf("%w: a request of a hand-out is not the one that was handed out", ErrFormat)
		}
	}
	if d.short || len(d.rest) > 0 {
		return nil, false, fmt.Errorf("%w: hand-out of %d bytes does not end where it should", ErrFormat, len(raw))
	}
	return requests, alone, nil
}

// What a batch holds: results, records given back, and news of calls.
const (
	kindResult   = 'r'
	kindReturned = 'b'
	kindBegan    = 'c'
	kindEnded    = 'e'
)

// appendDelivery adds one delivery to a batch under construction: hand-out, kind, the length of the body in four
// bytes, and the body.
func appendDelivery(raw []byte, d *Delivery) []byte {
	raw = binary.AppendUvarint(raw, uint64(d.Handout))
	kind := byte(kindResult)
	if d.Result == nil {
		kind = kindReturned
	}
	raw = append(raw, kind, 0, 0, 0, 0)
	start := len(raw)
	if d.Result != nil {
		raw = jobs.AppendResult(raw, d.Result)
	} else {
		body, err := json.Marshal(d.Returned)
		if err != nil {
			panic(err) // a struct of numbers and strings always encodes
		}
		raw = append(raw, body...)
	}
	binary.LittleEndian.PutUint32(raw[start-4:], uint32(len(raw)-start)) //nolint:gosec // below maxDecoded
	return raw
}

// appendNews adds news of a call: hand-out, kind and record.
func appendNews(raw []byte, news News) []byte {
	kind := byte(kindBegan)
	if news.Ended {
		kind = kindEnded
	}
	raw = binary.AppendUvarint(raw, uint64(news.Handout))
	return binary.AppendUvarint(append(raw, kind), uint64(news.Record)) //nolint:gosec // record numbers are not negative
}

// parseBatch decodes a batch and adds what is in it to batch. With an error nothing is added.
func parseBatch(data []byte, batch *Batch) error {
	raw, err := unseal(data)
	if err != nil {
		return err
	}
	var deliveries []Delivery
	var news []News
	d := decoder{rest: raw}
	for len(d.rest) > 0 {
		n := Number(d.uvarint())
		kind := d.take(1)[0]
		if kind == kindBegan || kind == kindEnded {
			record := int64(d.uvarint()) //nolint:gosec // the coordinator looks it up
			news = append(news, News{Handout: n, Record: record, Ended: kind == kindEnded})
			if d.short {
				return fmt.Errorf("%w: batch of %d bytes is cut", ErrFormat, len(raw))
			}
			continue
		}
		body := d.take(int(binary.LittleEndian.Uint32(d.take(4))))
		if d.short {
			return fmt.Errorf("%w: batch of %d bytes is cut", ErrFormat, len(raw))
		}
		one := Delivery{Handout: n}
		switch kind {
		case kindResult:
			if !gjson.ValidBytes(body) {
				return fmt.Errorf("%w: a result is not JSON", ErrFormat)
			}
			result, err := jobs.ParseResult(body)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrFormat, err)
			}
			one.Result = &result
		case kindReturned:
			one.Returned = new(Returned)
			if err := json.Unmarshal(body, one.Returned); err != nil {
				return fmt.Errorf("%w: returned record: %w", ErrFormat, err)
			}
		default:
			return fmt.Errorf("%w: delivery of kind %q", ErrFormat, kind)
		}
		deliveries = append(deliveries, one)
	}
	batch.Deliveries = append(batch.Deliveries, deliveries...)
	batch.News = append(batch.News, news...)
	return nil
}

// seal prefixes the version and compresses: S2 is made for speed, and JSON shrinks well.
func seal(raw []byte) []byte {
	sealed := make([]byte, 1, 1+s2.MaxEncodedLen(len(raw)))
	sealed[0] = formatVersion
	return append(sealed, s2.Encode(sealed[1:cap(sealed)], raw)...)
}

func unseal(data []byte) ([]byte, error) {
	if len(data) == 0 || data[0] != formatVersion {
		return nil, fmt.Errorf("%w: not version %d", ErrFormat, formatVersion)
	}
	size, err := s2.DecodedLen(data[1:])
	if err != nil || size > maxDecoded {
		return nil, fmt.Errorf("%w: %d bytes decompressed", ErrFormat, size)
	}
	raw, err := s2.Decode(nil, data[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return raw, nil
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// decoder reads fields off the front of a buffer; short is set when the buffer ends too early.
type decoder struct {
	rest  []byte
	short bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.short, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) count() int { return int(min(d.uvarint(), 1<<30)) }

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.short, d.rest = true, nil
		return make([]byte, min(n, 64))
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.short, d.rest = true, nil
		return nil
	}
	return d.take(int(n)) //nolint:gosec // at most the length of rest
}
