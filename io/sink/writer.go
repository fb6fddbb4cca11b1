package sink

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
)

// Writer writes rows. Close finishes the stream and leaves the io.Writer below it open; without it the output is
// cut. A Writer is not safe for concurrent use.
type Writer interface {
	// Write adds a row. Text formats write its members as they come; typed ones put them into the schema's
	// columns, where a missing member is null and an unknown one or a value of another type an error.
	Write(row []jobs.Member) error
	Close() error
}

// bufferBytes gathers small writes; the size is that of a common pipe and read-ahead.
const bufferBytes = 64 << 10

// NewWriter starts a file of format f on w. Text formats do not look at the schema.
func NewWriter(w io.Writer, f Format, schema jobs.Schema) (Writer, error) {
	switch f {
	case JSONL:
		return newLines(w, nil), nil
	case JSONLGzip:
		compressor := gzip.NewWriter(w)
		return newLines(compressor, compressor), nil
	case JSONLZstd:
		compressor, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		if err != nil {
			return nil, fmt.Errorf("start zstd stream: %w", err)
		}
		return newLines(compressor, compressor), nil
	case Parquet:
		return parquetio.NewWriter(w, schema)
	default:
		return nil, fmt.Errorf("start output: unknown format %q", f)
	}
}

// Concat writes part files, each made by a Writer of the same format and schema, to w as one file.
func Concat(w io.Writer, f Format, schema jobs.Schema, parts []string) error {
	if f == Parquet {
		return parquetio.Concat(w, schema, parts)
	}
	if len(parts) == 0 {
		// A file of no bytes is no gzip or zstd stream, but a stream of no rows is.
		empty, err := NewWriter(w, f, schema)
		if err != nil {
			return err
		}
		return empty.Close()
	}
	// Gzip members and zstd frames may follow one another in a file (RFC 1952, 2.2; RFC 8878, 3.1).
	for _, part := range parts {
		if err := appendFile(w, part); err != nil {
			return fmt.Errorf("append part: %w", err)
		}
	}
	return nil
}

func appendFile(w io.Writer, path string) (err error) {
	part, err := os.Open(path) //nolint:gosec // the paths are the run's own parts
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	_, err = io.Copy(w, part)
	return err
}

// lines writes each row as one JSON object on one line.
type lines struct {
	buffer *bufio.Writer
	// compressor ends its stream on Close; nil for plain text.
	compressor io.Closer
	line       []byte
}

func newLines(w io.Writer, compressor io.Closer) *lines {
	return &lines{buffer: bufio.NewWriterSize(w, bufferBytes), compressor: compressor}
}

func (l *lines) Write(row []jobs.Member) error {
	l.line = jsonl.AppendObject(l.line[:0], row)
	if _, err := l.buffer.Write(l.line); err != nil {
		return fmt.Errorf("write row: %w", err)
	}
	if err := l.buffer.WriteByte('\n'); err != nil {
		return fmt.Errorf("write row: %w", err)
	}
	return nil
}

func (l *lines) Close() error {
	if err := l.buffer.Flush(); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	if l.compressor == nil {
		return nil
	}
	if err := l.compressor.Close(); err != nil {
		return fmt.Errorf("end compressed stream: %w", err)
	}
	return nil
}
