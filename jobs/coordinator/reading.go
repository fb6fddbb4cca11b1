package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/batchwright/batchwright/internal/crashpoint"
	"github.com/batchwright/batchwright/jobs"
)

// openParts lists the open parts in order.
func (r *Run) openParts() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	indexes := make([]int, 0, len(r.parts))
	for i := range r.parts {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	return indexes
}

// resumeReading opens the input behind the last record that is in a part, and gives that part when it takes more.
func (r *Run) resumeReading() (*part, jobs.Reader, error) {
	at, first, skip := jobs.Position{}, int64(0), false
	var current *part
	if r.nextPart > 0 {
		at, first = r.last.Start, r.last.First
		p := r.parts[r.last.Index]
		switch {
		case r.last.Full:
			// Reading goes on behind its last record.
			at, first, skip = r.last.Last, r.last.First+int64(r.last.Records)-1, true
		case len(p.records) > 0:
			last, err := p.record(p.meta.First + int64(len(p.records)) - 1)
			if err != nil {
				return nil, nil, err
			}
			current, at, first, skip = p, last.Position, last.Number, true
			p.meta.Last = last.Position
		default:
			current = p
		}
	}
	reader, err := r.input.Files.Open(at, first)
	if err != nil {
		return nil, nil, fmt.Errorf("read input: %w", err)
	}
	if skip {
		if _, err := reader.Next(); err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, errors.Join(fmt.Errorf("read input: %w", err), reader.Close())
		}
	}
	return current, reader, nil
}

// startPart begins the part whose first record this is.
func (r *Run) startPart(ctx context.Context, record *jobs.Record) (*part, error) {
	var p *part
	err := r.persist(ctx, func() (err error) {
		p, err = createPart(r.state, r.nextPart, record.Number, record.Position)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start part %d: %w", r.nextPart, err)
	}
	r.mu.Lock()
	r.parts[r.nextPart] = p
	r.nextPart++
	r.mu.Unlock()
	return p, nil
}

// spool adds a record to its part.
func (r *Run) spool(p *part, record *jobs.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.add(record)
}

// fillPart closes a part to further records.
func (r *Run) fillPart(ctx context.Context, p *part) error {
	var meta PartMeta
	err := r.persist(ctx, func() (err error) {
		meta, err = p.fill()
		return err
	})
	if err != nil {
		return fmt.Errorf("fill part %d: %w", p.meta.Index, err)
	}
	crashpoint.Reach("part full")
	r.mu.Lock()
	defer r.mu.Unlock()
	p.meta = meta
	r.sealIfComplete(p)
	return nil
}
