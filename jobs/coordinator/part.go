package coordinator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/jobs"
)

// part is an open part: a spool of its records and a journal of their results. Its methods are not safe for
// concurrent use; the coordinator's mutex guards them.
type part struct {
	state State
	meta  PartMeta
	spool *journal.Log
	log   *journal.Log
	// By record, counted from the part's first: where it lies in the spool, and where its result lies in the
	// journal (-1 while there is none).
	records []int64
	results []int64
	done    int
	bytes   int64 // of spooled records
	tally   Tally
	sealing bool
}

// createPart starts a part whose first record is at a position.
func createPart(state State, index int, first int64, start jobs.Position) (*part, error) {
	meta := PartMeta{Version: stateVersion, Index: index, First: first, Start: start}
	if err := state.writePart(&meta); err != nil {
		return nil, err
	}
	return openPart(state, meta)
}

// openPart opens a part that is not sealed, with what a crash left of it.
func openPart(state State, meta PartMeta) (*part, error) {
	p := &part{state: state, meta: meta}
	var err error
	if p.spool, err = openLog(state.partFile(meta.Index, spoolSuffix)); err != nil {
		return nil, err
	}
	if p.log, err = openLog(state.partFile(meta.Index, journalSuffix)); err != nil {
		return nil, errors.Join(err, p.spool.Close())
	}
	if err := p.replay(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func openLog(path string) (*journal.Log, error) {
	log, err := journal.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		log, err = journal.Create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open part: %w", err)
	}
	return log, nil
}

func (p *part) replay() error {
	err := p.spool.Scan(func(offset int64, payload []byte) error {
		p.records = append(p.records, offset)
		p.bytes += int64(len(payload))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read records of part %d: %w", p.meta.Index, err)
	}
	return p.log.Scan(func(offset int64, payload []byte) error {
		result, err := jobs.ParseResult(payload)
		if err != nil {
			return fmt.Errorf("journal of part %d at byte %d: %w", p.meta.Index, offset, err)
		}
		p.note(&result, offset)
		return nil
	})
}

// note records where a result lies in the journal. The journal may be ahead of a spool that a crash cut short.
func (p *part) note(result *jobs.Result, offset int64) {
	i := int(result.Record - p.meta.First)
	for len(p.results) <= i {
		p.results = append(p.results, -1)
	}
	if p.results[i] < 0 {
		p.done++
		p.tally.add(result)
	}
	p.results[i] = offset
}

// answered reports whether a record of this part has a result.
func (p *part) answered(record int64) bool {
	i := int(record - p.meta.First)
	return i < len(p.results) && p.results[i] >= 0
}

// has reports whether a record number is within the records spooled so far.
func (p *part) has(record int64) bool {
	return record >= p.meta.First && record < p.meta.First+int64(len(p.records))
}

// complete reports whether every record of a full part has its result.
func (p *part) complete() bool { return p.meta.Full && p.done >= len(p.records) }

// add spools a record.
func (p *part) add(record *jobs.Record) error {
	entry := appendRecord(nil, record)
	offset, err := p.spool.Append(entry)
	if err != nil {
		return fmt.Errorf("spool record %d: %w", record.Number, err)
	}
	p.records = append(p.records, offset)
	p.bytes += int64(len(entry))
	p.meta.Last = record.Position
	return nil
}

// fill makes the part's records durable and closes it to further ones. It returns the meta to be taken over.
func (p *part) fill() (PartMeta, error) {
	meta := p.meta
	if err := p.spool.Commit(); err != nil {
		return meta, fmt.Errorf("store records: %w", err)
	}
	meta.Full, meta.Records = true, len(p.records)
	return meta, p.state.writePart(&meta)
}

// record reads a spooled record.
func (p *part) record(number int64) (jobs.Record, error) {
	entry, err := p.spool.ReadAt(p.records[number-p.meta.First])
	if err != nil {
		return jobs.Record{}, fmt.Errorf("read record %d: %w", number, err)
	}
	return parseRecord(number, entry)
}

// result reads a journaled result.
func (p *part) result(number int64) (jobs.Result, []byte, error) {
	entry, err := p.log.ReadAt(p.results[number-p.meta.First])
	if err != nil {
		return jobs.Result{}, nil, fmt.Errorf("read result of record %d: %w", number, err)
	}
	result, err := jobs.ParseResult(entry)
	return result, entry, err
}

func (p *part) close() error { return errors.Join(p.spool.Close(), p.log.Close()) }

// remove deletes a sealed part's spool and open journal.
func (p *part) remove() error {
	err := p.close()
	for _, suffix := range []string{spoolSuffix, journalSuffix} {
		if e := os.Remove(p.state.partFile(p.meta.Index, suffix)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove open part: %w", e))
		}
	}
	return err
}

// appendRecord encodes a record for the spool: its position as four varints, a kind, and the record as a JSON
// object or the text of its problem.
func appendRecord(dst []byte, r *jobs.Record) []byte {
	dst = binary.AppendVarint(dst, int64(r.Position.File))
	dst = binary.AppendVarint(dst, r.Position.Row)
	dst = binary.AppendVarint(dst, r.Position.Offset)
	dst = binary.AppendVarint(dst, r.Position.Line)
	if r.Problem != "" {
		return append(append(dst, spoolProblem), r.Problem...)
	}
	return jsonl.AppendObject(append(dst, spoolRecord), r.Fields)
}

const (
	spoolRecord  = 'r'
	spoolProblem = 'p'
)

var errSpool = errors.New("not a spooled record")

func parseRecord(number int64, entry []byte) (jobs.Record, error) {
	r := jobs.Record{Number: number}
	var file int64
	for _, field := range []*int64{&file, &r.Position.Row, &r.Position.Offset, &r.Position.Line} {
		v, n := binary.Varint(entry)
		if n <= 0 {
			return r, errSpool
		}
		*field, entry = v, entry[n:]
	}
	r.Position.File = int(file)
	if len(entry) == 0 {
		return r, errSpool
	}
	kind, body := entry[0], entry[1:]
	if kind == spoolProblem {
		r.Problem = string(body)
		return r, nil
	}
	fields, err := jsonl.ParseObject(body)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errSpool, err)
	}
	r.Fields = fields
	return r, nil
}
