package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// batchField is the field of a stream entry that holds a batch of deliveries.
const batchField = "b"

// Batch is what reads of the stream gave.
type Batch struct {
	Deliveries []Delivery
	// News tells of calls, in order.
	News []News
	// Position is how far the stream has been read.
	Position Position
	entries  []string // ids of the entries that were understood
}

// Empty reports whether the read gave nothing.
func (b *Batch) Empty() bool { return b.Position == "" }

// Join adds what a later read gave. Only what is to be acknowledged and the position are kept.
func (b *Batch) Join(later *Batch) {
	b.entries = append(b.entries, later.entries...)
	b.Position = later.Position
}

// Position is a place in the stream of results, as Redis writes it: "MILLISECONDS-SEQUENCE". The empty one is the start.
type Position string

// Reached reports whether a place is at or behind another.
func (p Position) Reached(other Position) bool {
	millis, sequence := p.split()
	otherMillis, otherSequence := other.split()
	return millis > otherMillis || millis == otherMillis && sequence >= otherSequence
}

func (p Position) split() (millis, sequence uint64) {
	head, tail, _ := strings.Cut(string(p), "-")
	// What Redis did not write counts as the start.
	millis, _ = strconv.ParseUint(head, 10, 64)
	sequence, _ = strconv.ParseUint(tail, 10, 64)
	return millis, sequence
}

// Read waits up to wait for deliveries that it has not returned since Redis last forgot the run; with wait 0 it does
// not wait. An entry that can't be understood is logged and passed over; it stays in the stream for others.
func (o *Owner) Read(ctx context.Context, wait time.Duration) (Batch, error) {
	o.mu.Lock()
	last, epoch := o.last, o.epoch
	o.mu.Unlock()
	if wait == 0 {
		wait = -1 // go-redis waits for ever at 0
	}
	streams, err := o.rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{o.keys.results(), last}, Count: 256, Block: wait,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return Batch{}, nil
	}
	if err != nil {
		return Batch{}, fmt.Errorf("read results: %w", err)
	}
	var batch Batch
	for _, stream := range streams {
		for _, entry := range stream.Messages {
			batch.Position = Position(entry.ID)
			payload, _ := entry.Values[batchField].(string)
			plain, err := o.cipher.open([]byte(payload), purposeResults, o.keys.run, 0)
			if err == nil {
				err = parseBatch(plain, &batch)
			}
			if err != nil {
				slog.WarnContext(ctx, "pass over results", slog.String("entry", entry.ID), slog.Any("error", err))
				continue
			}
			batch.entries = append(batch.entries, entry.ID)
		}
	}
	o.mu.Lock()
	// In another epoch the stream is another one, to be read from its start. And a reader that waits is woken with
	// nothing when an owner makes the stream.
	if o.epoch == epoch && batch.Position != "" {
		o.last = string(batch.Position)
	}
	o.mu.Unlock()
	return batch, nil
}

// ackScript deletes results and the claims of what is complete, for the owner alone.
var ackScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local entries = tonumber(ARGV[2])
if entries > 0 then redis.call('XDEL', KEYS[2], unpack(ARGV, 3, 2 + entries)) end
if #ARGV > 2 + entries then redis.call('HDEL', KEYS[3], unpack(ARGV, 3 + entries)) end
return 1`)

// maxUnpack bounds the arguments of one script: Lua unpacks some 8,000.
const maxUnpack = 2000

// Ack deletes a batch's entries from the stream, once its results are durable, and forgets the claims of hand-outs that
// are complete.
func (o *Owner) Ack(ctx context.Context, batch *Batch, complete []Number) error {
	entries := batch.entries
	for len(entries) > 0 || len(complete) > 0 {
		some, done := entries[:min(len(entries), maxUnpack)], complete[:min(len(complete), maxUnpack)]
		entries, complete = entries[len(some):], complete[len(done):]
		args := make([]any, 0, 2+len(some)+len(done))
		args = append(args, o.holder(), len(some))
		for _, id := range some {
			args = append(args, id)
		}
		for _, n := range done {
			args = append(args, n.String())
		}
		acked, err := ackScript.Run(ctx, o.rdb, []string{o.keys.owner(), o.keys.results(), o.keys.claims()}, args...).Int()
		if err != nil {
			return fmt.Errorf("acknowledge results: %w", err)
		}
		if acked == 0 {
			// The lease may only have run out: the next renewal tells that from a fence.
			return errors.New("acknowledge results: not the owner at the moment")
		}
	}
	return nil
}
