package csvio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchwright/batchwright/jobs"
)

// maxRow is the longest row that is read, in bytes without its last line break.
const maxRow = 32 << 20

// readAhead is the size of the first reads.
const readAhead = 128 << 10

var byteOrderMark = []byte("\ufeff")

// Reader reads records from CSV. It is a jobs.Reader for one file that it does not own, and is for use by one
// goroutine.
type Reader struct {
	window *window
	comma  byte
	maxRow int
	header []string
	next   jobs.Position // where the next row starts
	fields []span        // of the row being read
	text   []byte        // of the field being read, when it has to be put together
	err    error
}

var _ jobs.Reader = (*Reader)(nil)

// NewReader reads records from r, whose fields are parted by comma: ',' or '\t'. It reads the header, so r must be
// at the start of the file, and then goes to the position: 0 is the first row, and any position that an earlier
// Reader gave continues exactly there. For that it seeks when r is an io.Seeker and reads on otherwise. A file
// without a byte has no header and no records.
//
// A header that cannot name the columns is an error, which names the column but not the file.
func NewReader(r io.Reader, comma byte, at jobs.Position) (*Reader, error) {
	return newReader(r, comma, at, maxRow, readAhead)
}

func newReader(in io.Reader, comma byte, at jobs.Position, longest, ahead int) (*Reader, error) {
	r := &Reader{window: newWindow(in, ahead), comma: comma, maxRow: longest, next: jobs.Position{File: at.File, Line: 1}}
	for len(r.window.bytes()) < len(byteOrderMark) && r.window.more() {
		continue
	}
	if bytes.HasPrefix(r.window.bytes(), byteOrderMark) {
		r.window.drop(len(byteOrderMark))
	}
	if err := r.readHeader(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if at.Offset > 0 {
		if err := r.window.skipTo(at.Offset); err != nil {
			return nil, err
		}
		r.next = at
	}
	return r, nil
}

// Header returns the names of the columns, in order; none for a file without a byte.
func (r *Reader) Header() []string { return slices.Clone(r.header) }

func (r *Reader) readHeader() error {
	found, err := r.readRow()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.flaw != "" {
		return errors.New(found.flaw)
	}
	columns := make(map[string]int, len(r.fields))
	for i, field := range r.fields {
		name := string(r.textOf(field, found.text))
		if strings.TrimSpace(name) == "" {
			return fmt.Errorf("column %d has no name; give it one", i+1)
		}
		if earlier, ok := columns[name]; ok {
			return fmt.Errorf("columns %d and %d are both named %q; rename one", earlier, i+1, name)
		}
		columns[name] = i + 1
		r.header = append(r.header, name)
	}
	r.pass(found)
	return nil
}

// Next returns the record of the next row that is not an empty line, with Position set and Number left at 0, and
// io.EOF after the last. Values are JSON strings of the fields' exact text. A row that is no record comes with
// Problem set; its bytes count from 1. Any other error is final and names the line, not the file, which the Reader
// does not know.
func (r *Reader) Next() (jobs.Record, error) {
	if r.err != nil {
		return jobs.Record{}, r.err
	}
	found, err := r.readRow()
	if err != nil {
		r.err = err
		return jobs.Record{}, err
	}
	record := jobs.Record{Position: r.next}
	switch {
	case found.flaw != "":
		record.Problem = found.flaw
	case len(r.fields) != len(r.header):
		record.Problem = fmt.Sprintf("%d fields where the header has %d", len(r.fields), len(r.header))
	default:
		record.Fields = r.members(found.text)
	}
	r.next.Row++
	r.pass(found)
	return record, nil
}

// Close does nothing: the file belongs to whoever opened it.
func (r *Reader) Close() error { return nil }

// row is what stands at the start of the window.
type row struct {
	text   []byte // without the line break
	length int    // bytes to pass; 0 means to pass the first line, of whatever length
	flaw   string // why it is no record, or empty
}

// readRow finds the next row that is not an empty line, and its fields in r.fields. The row stays in the window until
// pass moves on.
func (r *Reader) readRow() (row, error) {
	for {
		text, length, err := r.window.row(r.maxRow)
		switch {
		case errors.Is(err, io.EOF):
			return row{}, io.EOF
		case err != nil:
			return row{}, fmt.Errorf("read line %d: %w", r.next.Line, err)
		case len(text) == 0:
			r.pass(row{length: length})
			continue
		case len(text) > r.maxRow:
			return row{flaw: fmt.Sprintf("row longer than %d bytes", r.maxRow)}, nil
		}
		fields, flaw := split(text, r.comma, r.fields[:0])
		if flaw != "" {
			return row{flaw: flaw}, nil
		}
		r.fields = fields
		return row{text: text, length: length, flaw: textFlaw(text)}, nil
	}
}

// pass moves behind a row.
func (r *Reader) pass(passed row) {
	if passed.length == 0 {
		r.window.dropLine()
		r.next.Line++
	} else {
		r.next.Line += int64(bytes.Count(r.window.bytes()[:passed.length], []byte("\n")))
		r.window.drop(passed.length)
	}
	r.next.Offset = r.window.offset
}

// members returns the fields of a record, whose values lie in one piece of memory.
func (r *Reader) members(text []byte) []jobs.Member {
	values := make([]byte, 0, len(text)+len(text)/16+3*len(r.fields))
	members := make([]jobs.Member, len(r.fields))
	for i, field := range r.fields {
		start := len(values)
		values, _ = jsontext.AppendQuote(values, r.textOf(field, text)) // its only error is text that is not UTF-8
		members[i] = jobs.Member{Name: r.header[i], Value: json.RawMessage(values[start:len(values):len(values)])}
	}
	return members
}

// textOf returns a field's text, valid until the next call.
func (r *Reader) textOf(field span, text []byte) []byte {
	raw := text[field.start:field.end]
	if !field.escaped {
		return raw
	}
	r.text = appendUnescaped(r.text[:0], raw)
	return r.text
}
