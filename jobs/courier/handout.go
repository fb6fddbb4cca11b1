package courier

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
)

// HandOut is a hand-out as a worker claims it.
type HandOut struct {
	Number   Number
	Requests []jobs.Request
	// Alone says that each record is to be called with no other call in flight in the process: one of them may have
	// been the death of another worker.
	Alone bool
	// Lease counts the leases that had ended for the worker when it claimed this (see SessionOptions.Expired).
	Lease int
}

// Mode says how a hand-out is to be taken.
type Mode int

// The modes.
const (
	New   Mode = iota // in the order handed out
	Again             // before all that is new
	Alone             // before all that is new, and one record at a time with nothing else in flight
)

// taskType names the one kind of task.
const taskType = "handout"

// newTask is what Asynq carries: the version and the number of a hand-out, 9 bytes.
func newTask(n Number) *asynq.Task {
	return asynq.NewTask(taskType, binary.BigEndian.AppendUint64([]byte{formatVersion}, uint64(n)))
}

func parseTask(payload []byte) (Number, error) {
	if len(payload) != 9 || payload[0] != formatVersion {
		return 0, fmt.Errorf("%w: task of %d bytes", ErrFormat, len(payload))
	}
	return Number(binary.BigEndian.Uint64(payload[1:])), nil
}

// Next is the number of the next hand-out. It will not be used again.
func (o *Owner) Next() Number {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	return numberOf(o.epoch, o.count)
}

// HandOut gives requests to the fleet under a number from Next. When it fails no worker has them and none will, so that
// their records can be handed out under another number; unless the error wraps ErrUnknown, when a Survey will tell.
func (o *Owner) HandOut(ctx context.Context, n Number, requests []jobs.Request, mode Mode) error {
	records := make([]int64, len(requests))
	for i := range requests {
		records[i] = requests[i].Record
	}
	stored := append([]byte(storedVersion), rangesOf(records)...)
	stored = append(stored, '\n')
	stored = append(stored, o.cipher.seal(appendRequests(requests, mode == Alone), purposeHandOut, o.keys.run, n)...)
	if err := patient(o.rdb, len(stored)).HSet(ctx, o.keys.handouts(), n.String(), stored).Err(); err != nil {
		// Without a task nobody looks for them, whether they were stored or not.
		return fmt.Errorf("store hand-out %d: %w", n, err)
	}
	queue := o.keys.queue()
	if mode != New {
		queue = o.keys.urgent()
	}
	// Asynq's own retries and timeouts must never give up on a task: only a claim ends a hand-out.
	_, err := o.client.EnqueueContext(ctx, newTask(n),
		asynq.Queue(queue), asynq.TaskID(n.String()), asynq.MaxRetry(1<<30), asynq.Timeout(1<<60))
	// A command that was sent twice, because the first reply was lost, finds its own task.
	if err == nil || errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	// The task may be there all the same: only taking the records back makes sure that nobody claims them.
	got, withdrawErr := o.Withdraw(ctx, []Number{n})
	switch {
	case withdrawErr != nil:
		return fmt.Errorf("%w: %w", errors.Join(err, withdrawErr), ErrUnknown)
	case len(got) == 0:
		return nil // claimed meanwhile
	}
	return fmt.Errorf("enqueue hand-out %d: %w", n, err)
}

// Withdraw takes back hand-outs that nobody has claimed yet and reports which of them it got.
func (o *Owner) Withdraw(ctx context.Context, numbers []Number) ([]Number, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	removed := make([]*redis.IntCmd, len(numbers))
	_, err := o.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, n := range numbers {
			removed[i] = p.HDel(ctx, o.keys.handouts(), n.String())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("withdraw %d hand-outs: %w", len(numbers), err)
	}
	var got []Number
	for i, n := range numbers {
		if removed[i].Val() == 1 {
			got = append(got, n)
		}
	}
	return got, nil
}

// storedVersion opens what is stored of a hand-out, before the numbers of its records and a newline: the claim leaves
// another version's where it is. It stands outside what may be encrypted.
var storedVersion = strconv.Itoa(formatVersion) + " "

// rangesOf lists the numbers of records, as "7-12,15". The claim of a hand-out keeps that of what is stored, so that a
// coordinator that comes later knows which records a worker has.
func rangesOf(records []int64) []byte {
	var dst []byte
	for i := 0; i < len(records); {
		first, last := records[i], records[i]
		for i++; i < len(records) && records[i] == last+1; i++ {
			last++
		}
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, first, 10)
		if last > first {
			dst = append(dst, '-')
			dst = strconv.AppendInt(dst, last, 10)
		}
	}
	return dst
}

// Claim says who has a hand-out.
type Claim struct {
	Worker  string
	Records []Range
}

// Range is consecutive records, both ends included.
type Range struct{ First, Last int64 }

// maxRecords bounds the records of a hand-out, and so what a damaged one, or a damaged claim, can ask of its reader. It is
// far above what a coordinator hands out at once.
const maxRecords = 1 << 12

// parseClaim reads what the claim script wrote: the worker, a space, and the numbers of the records.
func parseClaim(text string) (Claim, error) {
	worker, list, found := strings.Cut(text, " ")
	if !found {
		return Claim{}, fmt.Errorf("%w: claim", ErrFormat)
	}
	claim := Claim{Worker: worker}
	records := int64(0)
	for one := range strings.SplitSeq(list, ",") {
		head, tail, isRange := strings.Cut(one, "-")
		if !isRange {
			tail = head
		}
		first, err := strconv.ParseInt(head, 10, 64)
		last, lastErr := strconv.ParseInt(tail, 10, 64)
		if errors.Join(err, lastErr) != nil || first < 0 || last < first || last-first >= maxRecords-records {
			return Claim{}, fmt.Errorf("%w: claim", ErrFormat)
		}
		records += last - first + 1
		claim.Records = append(claim.Records, Range{first, last})
	}
	return claim, nil
}

// Contains reports whether the claimed hand-out has a record.
func (c *Claim) Contains(record int64) bool {
	return slices.ContainsFunc(c.Records, func(r Range) bool { return r.First <= record && record <= r.Last })
}
