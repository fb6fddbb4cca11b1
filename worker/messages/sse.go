package messages

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// event is one server-sent event.
type event struct {
	// name is the event field; empty when the server leaves it out.
	name string
	// data holds the data lines, joined by newlines.
	data []byte
}

// eventReader reads server-sent events (WHATWG HTML, section 9.2) with lines ended by LF or CRLF. Beyond the
// standard, the last event needs no empty line after it, and a line that begins with a brace is an event of its
// own: gateways append a bare JSON error to a stream that they cannot finish.
type eventReader struct{ lines *bufio.Reader }

func newEventReader(r io.Reader) *eventReader { return &eventReader{bufio.NewReaderSize(r, 16<<10)} }

// next returns the next event that has data; io.EOF after the last.
func (r *eventReader) next() (event, error) {
	var e event
	for {
		line, err := r.lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return event{}, err
		}
		ended := err != nil
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
		switch {
		case len(line) == 0:
			if e.data != nil {
				return e, nil
			}
			e.name = ""
		case line[0] == '{':
			return event{data: line}, nil
		default:
			e.read(line)
		}
		if ended {
			if e.data != nil {
				return e, nil
			}
			return event{}, io.EOF
		}
	}
}

// read takes one field; comments and fields that are not used are dropped.
func (e *event) read(line []byte) {
	field, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(field) {
	case "event":
		e.name = string(value)
	case "data":
		if e.data == nil {
			e.data = bytes.Clone(value)
			if e.data == nil {
				e.data = []byte{}
			}
			return
		}
		e.data = append(append(e.data, '\n'), value...)
	}
}
