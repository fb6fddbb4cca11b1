package source

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/io/csvio"
	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
)

// maxWindow is the largest zstd window that is decompressed, which is what the zstd tool accepts unasked. It bounds
// the memory that a frame can claim.
const maxWindow = 128 << 20

// open reads the records of one file from a position on.
func (f *File) open(at jobs.Position) (jobs.Reader, error) {
	if f.Format == Parquet {
		return parquetio.Open(f.Path, at.File, at.Row) // its errors name the file
	}
	disk, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("open input: %w", err)
	}
	text, err := f.openText(disk, at)
	if err != nil {
		return nil, errors.Join(f.fault(err), disk.Close())
	}
	return text, nil
}

func (f *File) openText(disk *os.File, at jobs.Position) (*textFile, error) {
	about, err := disk.Stat()
	switch {
	case err != nil:
		return nil, err
	case at.Row > 0 && at.Offset == 0:
		return nil, fmt.Errorf("row %d has no offset to start from", at.Row)
	case f.Compression == "" && at.Offset > about.Size():
		return nil, fmt.Errorf("go to offset %d: %w", at.Offset, io.ErrUnexpectedEOF)
	}
	stream, stop, err := decompress(disk, f.Compression)
	if err != nil {
		return nil, err
	}
	text := &textFile{file: f, stop: stop, disk: disk}
	if text.records, err = f.records(stream, at); err != nil {
		stop()
		return nil, err
	}
	return text, nil
}

func (f *File) records(stream io.Reader, at jobs.Position) (jobs.Reader, error) {
	switch f.Format {
	case JSONL:
		if err := skip(stream, at.Offset); err != nil {
			return nil, fmt.Errorf("go to offset %d: %w", at.Offset, err)
		}
		return jsonl.NewReader(stream, at), nil
	case CSV:
		return csvio.NewReader(stream, ',', at)
	case TSV:
		return csvio.NewReader(stream, '\t', at)
	default:
		return nil, fmt.Errorf("format %q cannot be read", f.Format)
	}
}

// skip moves a stream forward from its start.
func skip(stream io.Reader, offset int64) error {
	if seeker, ok := stream.(io.Seeker); ok {
		_, err := seeker.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, stream, offset)
	return noEOF(err)
}

// decompress returns the text of a stream, which is the stream itself when it is not compressed. It starts no
// goroutine; stop frees its memory.
func decompress(r io.Reader, compression Compression) (stream io.Reader, stop func(), err error) {
	switch compression {
	case Gzip:
		unpacked, err := gzip.NewReader(r) // reads all members
		if err != nil {
			return nil, nil, fmt.Errorf("start gzip: %w", noEOF(err))
		}
		return unpacked, func() {}, nil
	case Zstd:
		unpacked, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("start zstd: %w", noEOF(err))
		}
		return unpacked, unpacked.Close, nil
	default:
		return r, func() {}, nil
	}
}

// noEOF keeps a stream that ends too early from passing for one that has been read.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fault names the file in an error that ends the reading of it.
func (f *File) fault(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read %s: the file is cut off, fetch it again: %w", f.Path, err)
	}
	return fmt.Errorf("read %s: %w", f.Path, err)
}

// textFile reads an open text file and closes it.
type textFile struct {
	file    *File
	records jobs.Reader
	stop    func()
	disk    *os.File
}

func (t *textFile) Next() (jobs.Record, error) {
	record, err := t.records.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return jobs.Record{}, t.file.fault(err)
	}
	return record, err
}

func (t *textFile) Close() error {
	t.stop()
	if err := t.disk.Close(); err != nil {
		return t.file.fault(err)
	}
	return nil
}
