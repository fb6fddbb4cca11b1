package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/batchwright/batchwright/io/source"
	"github.com/batchwright/batchwright/jobs"
)

// Bounds of looking ahead, which is done only where a row is not its record's: rows, and bytes of their values. A gap
// of more rows than that is reported row by row.
const (
	lookaheadRows  = 128
	lookaheadBytes = 32 << 20
)

// lookahead reads records or rows one by one and can look at some of those that come.
type lookahead struct {
	reader  jobs.Reader
	left    int64 // how many may still be read; negative for all
	err     error // what ended reading, io.EOF included; nil when left did
	ahead   []jobs.Record
	bytes   int          // of the values in ahead
	last    *jobs.Record // the one dropped last
	dropped int64
}

// at is the i-th one that comes; nil when there is none, or it is too far to look.
func (l *lookahead) at(i int) *jobs.Record {
	for len(l.ahead) <= i {
		if l.err != nil || l.left == 0 || i > 0 && l.bytes > lookaheadBytes {
			return nil
		}
		var next jobs.Record
		if next, l.err = l.reader.Next(); l.err != nil {
			return nil
		}
		l.left--
		l.ahead = append(l.ahead, next)
		l.bytes += sizeOf(&next)
	}
	return &l.ahead[i]
}

// drop passes over the first n, which were looked at.
func (l *lookahead) drop(n int) {
	for i := range n {
		l.bytes -= sizeOf(&l.ahead[i])
	}
	last := l.ahead[n-1]
	l.last = &last
	l.ahead = slices.Delete(l.ahead, 0, n)
	l.dropped += int64(n)
}

func sizeOf(r *jobs.Record) int {
	n := 0
	for i := range r.Fields {
		n += len(r.Fields[i].Value)
	}
	return n
}

// align walks through records and rows together. Where they part it finds out whether rows are missing, too many,
// swapped or changed, so that what follows is compared with its own record again.
func (v *verifier) align(ctx context.Context, file *source.File, records, rows *lookahead) error {
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		record, row := records.at(0), rows.at(0)
		switch {
		case record == nil && row == nil:
			return nil
		case record == nil:
			v.surplus(file, records, rows)
		case row == nil && !errors.Is(rows.err, io.EOF):
			return nil // the file can't be read on, which is one problem and not one of each record
		case row == nil:
			v.report(file, nil, record, "the record has no row")
			records.drop(1)
		default:
			if what := v.expected.differs(record, row); what != "" {
				v.mend(file, records, rows, what)
				continue
			}
			v.judge(file, record, row)
			records.drop(1)
			rows.drop(1)
		}
	}
}

// mend reports how the next row comes not to be the next record's, and drops what is explained by that.
func (v *verifier) mend(file *source.File, records, rows *lookahead, what string) {
	same := func(i, j int) bool {
		record, row := records.at(i), rows.at(j)
		return record != nil && row != nil && v.expected.differs(record, row) == ""
	}
	record, row := records.at(0), rows.at(0)
	if same(0, 1) && same(1, 0) {
		v.report(file, row, record, fmt.Sprintf("the row of record %d stands here, and its own row after it", record.Number+1))
		records.drop(2)
		rows.drop(2)
		return
	}
	missing, surplus := 0, 0
	if atEnd := records.at(1) == nil && rows.at(1) == nil; !atEnd && !same(1, 1) {
		for far := 1; far <= lookaheadRows && missing+surplus == 0; far++ {
			switch {
			case same(far, 0):
				missing = far
			case same(0, far):
				surplus = far
			}
		}
	}
	switch {
	case missing > 0:
		for range missing {
			v.report(file, row, records.at(0), "the row of a later record stands where this record's should")
			records.drop(1)
		}
	case surplus > 0:
		for range surplus {
			v.surplus(file, records, rows)
		}
	default:
		v.report(file, row, record, what)
		records.drop(1)
		rows.drop(1)
	}
}

// surplus reports a row that is no record's turn, and drops it.
func (v *verifier) surplus(file *source.File, records, rows *lookahead) {
	row := rows.at(0)
	if last := records.last; last != nil && v.expected.differs(last, row) == "" {
		v.report(file, row, last, "the record has another row")
	} else {
		v.report(file, row, nil, "the row is no record's")
	}
	rows.drop(1)
}

// judge checks how a record's row says that it ended.
func (v *verifier) judge(file *source.File, record, row *jobs.Record) {
	succeeded, what := v.expected.ending(record, row)
	if what != "" {
		v.report(file, row, record, what)
		return
	}
	if succeeded {
		v.found.Succeeded++
	} else {
		v.found.Failed++
	}
}
