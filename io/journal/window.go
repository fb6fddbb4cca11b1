package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// window reads a range of a file from front to back. Only here is the end of the file told apart from an error.
type window struct{ r *bufio.Reader }

func newWindow(r io.ReaderAt, from, to int64) window {
	return window{bufio.NewReaderSize(io.NewSectionReader(r, from, to-from), 256<<10)}
}

// peek returns the next n bytes, fewer at the end.
func (w window) peek(n int) ([]byte, error) {
	b, err := w.r.Peek(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read: %w", err)
	}
	return b, nil
}

// skip passes over n bytes that peek has shown.
func (w window) skip(n int) { _, _ = w.r.Discard(n) }

// read fills b and reports whether the range held that much.
func (w window) read(b []byte) (whole bool, err error) {
	_, err = io.ReadFull(w.r, b)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false, nil
	default:
		return false, fmt.Errorf("read: %w", err)
	}
}

// memory reads the part of a log that is not in the file yet; its first byte belongs at base.
type memory struct {
	bytes []byte
	base  int64
}

// ReadAt reads at an offset in the file.
func (m memory) ReadAt(b []byte, offset int64) (int, error) {
	n := copy(b, m.bytes[offset-m.base:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
