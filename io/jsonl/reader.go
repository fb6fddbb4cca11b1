package jsonl

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/batchwright/batchwright/jobs"
)

// maxLine is the longest line that is read, in bytes without its line break; a longer one is a broken record. It
// is also the API's limit for a request.
const maxLine = 32 << 20

// readAhead is the size of one read; lines within it are parsed without being put together first.
const readAhead = 128 << 10

var byteOrderMark = []byte("\ufeff")

// Reader reads records from JSON Lines. It is a jobs.Reader for one file that it does not own, and is for use by
// one goroutine.
type Reader struct {
	in      *bufio.Reader
	next    jobs.Position // where the next line starts
	maxLine int
	parser  *parser
	err     error
}

var _ jobs.Reader = (*Reader)(nil)

// NewReader reads records from r, whose first byte is at the position: the zero position is the start of the
// first file, and any position that an earlier Reader gave continues exactly there.
func NewReader(r io.Reader, at jobs.Position) *Reader {
	return newReader(r, at, maxLine, readAhead)
}

func newReader(r io.Reader, at jobs.Position, longest, ahead int) *Reader {
	if at.Line == 0 {
		at.Line = 1
	}
	return &Reader{in: bufio.NewReaderSize(r, ahead), next: at, maxLine: longest, parser: newParser()}
}

// Next returns the record of the next line that is not blank, with Position set and Number left at 0, and io.EOF
// after the last. A line that is no record comes with Problem set; its bytes count from 1. Any other error is
// final and names the line, not the file, which the Reader does not know.
func (r *Reader) Next() (jobs.Record, error) {
	for r.err == nil {
		start := r.next
		line, err := r.readLine()
		if errors.Is(err, errLineTooLong) {
			r.next.Row++
			return jobs.Record{Position: start, Problem: fmt.Sprintf("line longer than %d bytes", r.maxLine)}, nil
		}
		if err != nil {
			r.err = err
			break
		}
		skipped := 0
		if start.Offset == 0 && bytes.HasPrefix(line, byteOrderMark) {
			skipped = len(byteOrderMark)
			line = line[skipped:]
		}
		if isBlank(line) {
			continue
		}
		r.next.Row++
		record := jobs.Record{Position: start}
		fields, flaw := r.parser.parse(bytes.Clone(line))
		if flaw != nil {
			if flaw.at > 0 {
				flaw.at += skipped
			}
			record.Problem = flaw.Error()
			return record, nil
		}
		record.Fields = fields
		return record, nil
	}
	return jobs.Record{}, r.err
}

// Close does nothing: the file belongs to whoever opened it.
func (r *Reader) Close() error { return nil }

var errLineTooLong = errors.New("line too long")

// readLine returns the next line with its line break, valid until the next call, and moves r.next behind it.
func (r *Reader) readLine() ([]byte, error) {
	var line []byte // what did not fit into the buffer
	tooLong := false
	for {
		piece, err := r.in.ReadSlice('\n')
		r.next.Offset += int64(len(piece))
		ended := err == nil
		if !tooLong && len(line)+lenWithoutBreak(piece) > r.maxLine {
			tooLong = true
		}
		switch {
		case err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read line %d: %w", r.next.Line, err)
		case errors.Is(err, io.EOF) && len(piece) == 0 && len(line) == 0 && !tooLong:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			ended = true
		}
		if ended {
			r.next.Line++
		}
		switch {
		case ended && tooLong:
			return nil, errLineTooLong
		case tooLong: // skip to the line break
		case ended && line == nil:
			return piece, nil
		default:
			line = append(line, piece...)
		}
		if ended {
			return line, nil
		}
	}
}

func lenWithoutBreak(piece []byte) int {
	return len(bytes.TrimSuffix(piece, []byte("\n")))
}
