package csvio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// window is the part of the input that is in memory: from the start of the row being read on.
type window struct {
	in     io.Reader
	buffer []byte
	start  int   // of the row, in buffer
	offset int64 // of the row, in the input
	err    error // of in, io.EOF included
}

func newWindow(in io.Reader, ahead int) *window {
	return &window{in: in, buffer: make([]byte, 0, ahead)}
}

// bytes returns what is in memory of the row and of what follows it, valid until more or drop.
func (w *window) bytes() []byte { return w.buffer[w.start:] }

// more reads on, and reports whether there was anything to read.
func (w *window) more() bool {
	if w.err != nil {
		return false
	}
	if w.start > 0 {
		w.buffer = w.buffer[:copy(w.buffer, w.buffer[w.start:])]
		w.start = 0
	}
	if len(w.buffer) == cap(w.buffer) {
		grown := make([]byte, len(w.buffer), 2*cap(w.buffer))
		copy(grown, w.buffer)
		w.buffer = grown
	}
	n, err := io.ReadAtLeast(w.in, w.buffer[len(w.buffer):cap(w.buffer)], 1)
	w.buffer = w.buffer[:len(w.buffer)+n]
	w.err = err
	return n > 0
}

// drop moves on by n bytes that are in memory.
func (w *window) drop(n int) {
	w.start += n
	w.offset += int64(n)
}

// dropLine moves behind the next line break or to the end of the input, without holding the line.
func (w *window) dropLine() {
	for {
		if i := bytes.IndexByte(w.bytes(), '\n'); i >= 0 {
			w.drop(i + 1)
			return
		}
		w.drop(len(w.bytes()))
		if !w.more() {
			return
		}
	}
}

// row returns the row at the start of the window without its line break, and its length with it. A row goes up to
// the first line break outside quotes: one with an even number of quotes before it. Where that is not found within
// limit bytes, or not at all, it returns the first line, which then is longer than limit or has an odd number of
// quotes. The slice is valid until the window moves. The error is that of the input, io.EOF when no row is left.
func (w *window) row(limit int) (text []byte, length int, err error) {
	searched, quotes, firstLine := 0, 0, 0
	for {
		rest := w.bytes()[searched:]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			quotes += bytes.Count(rest, quote)
			searched += len(rest)
			if searched > limit+len("\r\n") {
				break
			}
			if w.more() {
				continue
			}
			if !errors.Is(w.err, io.EOF) || searched == 0 {
				return nil, 0, w.err
			}
		} else {
			quotes += bytes.Count(rest[:i], quote)
			searched += i + 1
			if firstLine == 0 {
				firstLine = searched
			}
		}
		if quotes%2 == 0 {
			text = trimLineBreak(w.bytes()[:searched])
			if len(text) <= limit {
				return text, searched, nil
			}
		}
		if i < 0 || searched > limit+len("\r\n") {
			break
		}
	}
	if firstLine == 0 {
		firstLine = searched
	}
	return trimLineBreak(w.bytes()[:firstLine]), firstLine, nil
}

func trimLineBreak(text []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
}

var quote = []byte(`"`)

// skipTo moves forward to an offset, by a seek if the input can.
func (w *window) skipTo(offset int64) error {
	distance := offset - w.offset
	if distance < 0 {
		return fmt.Errorf("offset %d lies before the first row at %d", offset, w.offset)
	}
	if held := int64(len(w.bytes())); distance <= held {
		w.drop(int(distance))
		return nil
	}
	w.drop(len(w.bytes()))
	if seeker, ok := w.in.(io.Seeker); ok {
		if _, err := seeker.Seek(offset, io.SeekStart); err != nil {
			return fmt.Errorf("go to offset %d: %w", offset, err)
		}
	} else if _, err := io.CopyN(io.Discard, w.in, offset-w.offset); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("go to offset %d: %w", offset, err)
	}
	w.offset = offset
	return nil
}
