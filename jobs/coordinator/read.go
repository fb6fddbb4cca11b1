package coordinator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/jobs"
)

// Results reads what a run has come to from its state folder alone: of a finished run, of a stopped one, and of one
// that another process is working on. It changes nothing and takes no lock.
type Results struct {
	State    State
	Manifest *Manifest
	Parts    []PartMeta

	groupBytes int // openGroupBytes
}

// OpenResults opens the results of the run that a state folder holds. Without a run it is a usage error.
func OpenResults(state State) (*Results, error) {
	manifest, err := state.Manifest()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("there is no run in %s: start one with batchwright run", state.Dir)
	}
	if err != nil {
		return nil, err
	}
	parts, err := state.Parts()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // a run that has not begun a part
	}
	return &Results{State: state, Manifest: manifest, Parts: parts, groupBytes: openGroupBytes}, err
}

// All yields the results of all parts in the order of their records, one of each record that has one. Memory is
// bounded: see Part. An error ends it.
func (r *Results) All() iter.Seq2[jobs.Result, error] {
	return func(yield func(jobs.Result, error) bool) {
		for i := range r.Parts {
			for result, err := range r.Part(i) {
				if !yield(result, err) || err != nil {
					return
				}
			}
		}
	}
}

// Part yields the results of one part in the order of their records. Of a sealed part it holds one result in
// memory, of an open one a few tens of megabytes of them. An error ends it.
func (r *Results) Part(index int) iter.Seq2[jobs.Result, error] {
	return func(yield func(jobs.Result, error) bool) {
		next := r.Parts[index].First
		err := r.eachEntry(index, func(entry []byte) error {
			result, err := jobs.ParseResult(entry)
			if err != nil {
				return fmt.Errorf("journal of part %d: %w", index, err)
			}
			if result.Record < next {
				return nil // the open journal had it, and the part was sealed meanwhile
			}
			next = result.Record + 1
			if !yield(result, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(jobs.Result{}, err)
		}
	}
}

// errEnough ends a scan whose reader has seen enough.
var errEnough = errors.New("enough")

// eachEntry calls fn for each journal entry of a part in the order of the records. A part may be sealed by its
// coordinator at any moment, which deletes the open journal: then it goes on from the beginning of the sealed one.
func (r *Results) eachEntry(index int, fn func(entry []byte) error) error {
	if !r.Parts[index].Sealed {
		err := eachOpenEntry(r.State.partFile(index, journalSuffix), r.groupBytes, fn)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := eachSealedEntry(r.State.partFile(index, sealedSuffix), fn)
	if errors.Is(err, fs.ErrNotExist) && !r.Parts[index].Sealed {
		return nil // begun this moment, and without a journal yet
	}
	return err
}

// eachSealedEntry streams a sealed journal.
func eachSealedEntry(path string, fn func(entry []byte) error) error {
	file, err := os.Open(path) //nolint:gosec // the state folder's own
	if err != nil {
		return fmt.Errorf("open sealed journal: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	decompressed, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("read sealed journal %s: %w", path, err)
	}
	defer decompressed.Close()
	// By value and not by line: a message that the API sent in several lines is kept as it came.
	values := json.NewDecoder(bufio.NewReaderSize(decompressed, 1<<18))
	for {
		var entry json.RawMessage
		err := values.Decode(&entry)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read sealed journal %s: %w", path, err)
		}
		if err := fn(entry); err != nil {
			return err
		}
	}
}

// openGroupBytes bounds the results of an open journal that are held in memory at once.
const openGroupBytes = 32 << 20

// openEntry is where a record's result lies in an open journal.
type openEntry struct {
	record, offset int64
	size           int
}

// eachOpenEntry brings an open journal, which is in the order of arrival, into the order of the records: it notes
// where they lie, and then collects as many consecutive records as groupBytes holds with each further scan. Nearly
// always one is enough.
func eachOpenEntry(path string, groupBytes int, fn func(entry []byte) error) error {
	entries, err := indexOpen(path)
	if err != nil {
		return err
	}
	for len(entries) > 0 {
		bytes, n := 0, 0
		for n < len(entries) && (n == 0 || bytes+entries[n].size <= groupBytes) {
			bytes += entries[n].size
			n++
		}
		if err := eachOfGroup(path, entries[:n], fn); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// indexOpen notes where the result of each record lies, in the order of the records. Of several results of one
// record the last counts, as for the run itself.
func indexOpen(path string) ([]openEntry, error) {
	latest := make(map[int64]openEntry)
	err := journal.ScanFile(path, func(offset int64, payload []byte) error {
		result, err := jobs.ParseResult(payload)
		if err != nil {
			return fmt.Errorf("journal %s at byte %d: %w", path, offset, err)
		}
		latest[result.Record] = openEntry{result.Record, offset, len(payload)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	entries := make([]openEntry, 0, len(latest))
	for _, entry := range latest {
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b openEntry) int { return int(a.record - b.record) })
	return entries, nil
}

// eachOfGroup collects the entries of a group with one scan and calls fn for them in the order of the group.
func eachOfGroup(path string, group []openEntry, fn func(entry []byte) error) error {
	at := make(map[int64]int, len(group)) // place in the group, by offset
	for i, entry := range group {
		at[entry.offset] = i
	}
	payloads := make([][]byte, len(group))
	left := len(group)
	err := journal.ScanFile(path, func(offset int64, payload []byte) error {
		i, wanted := at[offset]
		if !wanted {
			return nil
		}
		payloads[i] = slices.Clone(payload)
		if left--; left == 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for i, payload := range payloads {
		if err := fn(payload); err != nil {
			return err
		}
		payloads[i] = nil
	}
	return nil
}
