package coordinator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

const (
	// poisonDeaths is at how many deaths of workers a record must have been in flight alone to fail as poison.
	poisonDeaths = 3
	// heldDeaths is at how many deaths a record that was with the worker, and is not known to have been in flight, is a
	// suspect: news of a call that began may die with the worker, too.
	heldDeaths = 2

	suspicionFile = "in-flight"
)

// suspect notes that the worker that had a record died. The caller holds the mutex.
func (r *Run) suspect(p *pending) {
	if p.deaths++; p.began || p.deaths >= heldDeaths {
		p.suspect = true
	}
}

// suspectAlone counts against records that they were in flight alone when their workers died. The caller holds the
// mutex.
func (r *Run) suspectAlone(died map[courier.Number]bool) {
	for n := range died {
		h := r.handouts[n]
		if h == nil || h.mode != courier.Alone {
			continue
		}
		for _, number := range h.order {
			// The others have their result, came back, wait after a call, or their turn had not come.
			if p := r.outstanding[number]; p != nil && p.handout == n && p.began {
				r.suspicion.alone[number]++
			}
		}
	}
}

// poison fails records that were the death of too many workers.
func (r *Run) poison(ctx context.Context, records []*pending) error {
	if len(records) == 0 {
		return nil
	}
	own := make([]jobs.Result, len(records))
	r.mu.Lock()
	r.window.own++
	for i, p := range records {
		own[i] = jobs.Result{
			Record: p.number, ID: p.id, Digest: p.digest, Status: jobs.Failed, Reason: jobs.ReasonPoison,
			Error:    fmt.Sprintf("it was in flight alone at the death of %d workers", poisonDeaths),
			Attempts: p.attempts, Calls: p.calls + poisonDeaths, FinishedAt: time.Now(),
		}
	}
	r.mu.Unlock()
	select {
	case r.inbox <- delivery{own: own}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// suspicion is kept in the state folder, so that it outlives a coordinator that dies with its worker: which records are
// in flight, and at how many deaths each was in flight alone. The file is written in place and never synced, because a
// power cut is no record's fault.
type suspicion struct {
	file   *os.File
	alone  map[int64]int  // record → deaths at which it was in flight alone
	before map[int64]bool // in flight when the last coordinator died → alone
	began  map[int64]bool // in flight now → alone
	dirty  bool
	buffer []byte
}

// openSuspicion reads what the last coordinator left.
func openSuspicion(state State) (suspicion, error) {
	s := suspicion{alone: make(map[int64]int), before: make(map[int64]bool), began: make(map[int64]bool), dirty: true}
	path := filepath.Join(state.Dir, suspicionFile)
	data, err := os.ReadFile(path) //nolint:gosec // the state folder's own
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("read records in flight: %w", err)
	}
	s.parse(data)
	if s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil { //nolint:gosec // the state folder's own
		return s, fmt.Errorf("open records in flight: %w", err)
	}
	return s, nil
}

var suspicionSums = crc32.MakeTable(crc32.Castagnoli)

// parse reads the file; one that is torn says nothing.
func (s *suspicion) parse(data []byte) {
	if len(data) < 8 {
		return
	}
	size := int64(binary.LittleEndian.Uint32(data))
	if size > int64(len(data)-8) || crc32.Checksum(data[8:8+size], suspicionSums) != binary.LittleEndian.Uint32(data[4:]) {
		return
	}
	for rest := data[8 : 8+size]; len(rest) > 0; {
		record, n := binary.Uvarint(rest)
		if n <= 0 {
			return
		}
		deaths, m := binary.Uvarint(rest[n:])
		if m <= 0 {
			return
		}
		rest = rest[n+m:]
		// The two lowest bits say whether it was in flight, and whether alone.
		if deaths&1 == 1 {
			s.before[int64(record)] = deaths&2 == 2 //nolint:gosec // looked up
		}
		if deaths >>= 2; deaths > 0 {
			s.alone[int64(record)] = int(min(deaths, poisonDeaths)) //nolint:gosec // bounded
		}
	}
}

// start notes that a call for a record began.
func (s *suspicion) start(record int64, alone bool) { s.began[record], s.dirty = alone, true }

// end notes that a record has its result.
func (s *suspicion) end(record int64) {
	if _, began := s.began[record]; began || s.alone[record] > 0 {
		delete(s.began, record)
		delete(s.alone, record)
		s.dirty = true
	}
}

// pause notes that a record is no longer in flight and has no result.
func (s *suspicion) pause(record int64) {
	if _, began := s.began[record]; began {
		delete(s.began, record)
		s.dirty = true
	}
}

// encode gives what the file is to hold, in a buffer that the next call uses again; nil when nothing changed.
func (s *suspicion) encode() []byte {
	if !s.dirty {
		return nil
	}
	s.dirty = false
	b := append(s.buffer[:0], 0, 0, 0, 0, 0, 0, 0, 0)
	for record, alone := range s.began {
		b = binary.AppendUvarint(b, uint64(record)) //nolint:gosec // record numbers are not negative
		flags := uint64(1)
		if alone {
			flags |= 2
		}
		b = binary.AppendUvarint(b, uint64(s.alone[record])<<2|flags) //nolint:gosec // a count
	}
	for record, deaths := range s.alone {
		if _, began := s.began[record]; !began {
			b = binary.AppendUvarint(b, uint64(record))    //nolint:gosec // record numbers are not negative
			b = binary.AppendUvarint(b, uint64(deaths)<<2) //nolint:gosec // a count
		}
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-8)) //nolint:gosec // some hundred records
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], suspicionSums))
	s.buffer = b
	return b
}

// save writes what encode gave.
func (s *suspicion) save(encoded []byte) error {
	if encoded == nil {
		return nil
	}
	if _, err := s.file.WriteAt(encoded, 0); err != nil {
		return fmt.Errorf("note records in flight: %w", err)
	}
	return nil
}

// close ends the notes: a coordinator that ends in order leaves nothing in flight.
func (s *suspicion) close(complete bool) error {
	if s.file == nil {
		return nil
	}
	clear(s.began)
	s.dirty = true
	err := errors.Join(s.save(s.encode()), s.file.Close())
	if complete {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	s.file = nil
	return err
}
