package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Format is the format of an input file, inside its compression.
type Format string

// The formats.
const (
	JSONL   Format = "jsonl"
	CSV     Format = "csv"
	TSV     Format = "tsv"
	Parquet Format = "parquet"
)

// Compression is how a text file is compressed as a whole; empty for none.
type Compression string

// The compressions.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// endings tells people which names are known.
const endings = ".jsonl, .ndjson, .json, .csv, .tsv (also .gz or .zst) or .parquet"

// sampled is how much of each end of a file goes into its fingerprint.
const sampled = 64 << 10

// formatOf tells a file's format and compression by its name; both are empty when it says nothing.
func formatOf(path string) (Format, Compression) {
	extension, compression := extensionOf(path)
	switch extension {
	case ".jsonl", ".ndjson", documentExtension:
		return JSONL, compression
	case ".csv":
		return CSV, compression
	case ".tsv":
		return TSV, compression
	case ".parquet":
		return Parquet, compression
	default:
		return "", compression
	}
}

// documentExtension names JSON that may be one document as well as an object on each line.
const documentExtension = ".json"

// extensionOf returns the ending of a name below that of a compression.
func extensionOf(path string) (string, Compression) {
	name := strings.ToLower(filepath.Base(path))
	if stem, ok := strings.CutSuffix(name, ".gz"); ok {
		return filepath.Ext(stem), Gzip
	}
	if stem, ok := strings.CutSuffix(name, ".zst"); ok {
		return filepath.Ext(stem), Zstd
	}
	return filepath.Ext(name), ""
}

// FileAt finds out what a file is: by its name, and where that says nothing by how it starts. It looks at both ends of
// the file and reads no record.
func FileAt(path string) (File, error) {
	about, err := os.Stat(path) // before it is opened: a pipe would wait for its writer
	if err != nil {
		return File{}, fmt.Errorf("look at file: %w", err)
	}
	if !about.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s is not a file that can be read again after a stop; write its contents to one", path)
	}
	disk, err := os.Open(path) //nolint:gosec // G304: the job names its input
	if err != nil {
		return File{}, fmt.Errorf("open file: %w", err)
	}
	defer disk.Close() //nolint:errcheck // only read
	file := File{Path: path, Size: about.Size()}
	head, err := file.sample(disk)
	if err != nil {
		return File{}, file.fault(err)
	}
	return file, file.detect(head)
}

// sample sets the fingerprint and returns how the file starts.
func (f *File) sample(disk io.ReaderAt) (head []byte, err error) {
	head = make([]byte, min(f.Size, sampled))
	tail := make([]byte, min(f.Size-int64(len(head)), sampled))
	for _, read := range []struct {
		into []byte
		at   int64
	}{{head, 0}, {tail, f.Size - int64(len(tail))}} {
		if n, err := disk.ReadAt(read.into, read.at); n < len(read.into) {
			return nil, err
		}
	}
	hash := sha256.New()
	for _, part := range [][]byte{strconv.AppendInt(nil, f.Size, 10), {'\n'}, head, tail} {
		hash.Write(part)
	}
	f.Fingerprint = hex.EncodeToString(hash.Sum(nil))
	return head, nil
}

// detect sets the format and the compression.
func (f *File) detect(head []byte) error {
	format, named := formatOf(f.Path)
	f.Format, f.Compression = format, compressionOf(head)
	switch {
	case named != "" && named != f.Compression:
		return fmt.Errorf("%s is named as %s but does not start as %s; fetch it again or rename it", f.Path, named, named)
	case format == Parquet && f.Compression != "":
		return fmt.Errorf("%s is Parquet inside %s; unpack it first", f.Path, f.Compression)
	case format == "" && bytes.HasPrefix(head, []byte("PAR1")):
		f.Format = Parquet
		return nil
	}
	if extension, _ := extensionOf(f.Path); format == "" || extension == documentExtension {
		f.Format = JSONL
		return f.checkLines(head, format != "")
	}
	return nil
}

// checkLines makes sure that a file whose name leaves that open has a JSON object on each line, as far as its start
// shows. A file that is named as JSON may also be empty or broken.
func (f *File) checkLines(head []byte, named bool) error {
	start, err := f.start(head)
	if err != nil {
		return err
	}
	first, more, _ := bytes.Cut(start, []byte("\n"))
	switch {
	case bytes.HasPrefix(start, []byte("[")):
		return fmt.Errorf("%s is one JSON list, and an object on each line is needed: jq -c '.[]' makes that of it", f.Path)
	case len(more) > 0 && string(bytes.TrimSpace(first)) == "{":
		return fmt.Errorf("%s has objects that span lines, and one on each line is needed: jq -c . makes that of it", f.Path)
	case !named && !bytes.HasPrefix(start, []byte("{")):
		return fmt.Errorf("neither name nor content of %s tells its format; rename it to end in %s", f.Path, endings)
	default:
		return nil
	}
}

// start returns the first bytes of the decompressed text behind white space and a byte order mark.
func (f *File) start(head []byte) ([]byte, error) {
	stream, stop, err := decompress(bytes.NewReader(head), f.Compression)
	if err != nil {
		return nil, f.fault(err)
	}
	defer stop()
	start := make([]byte, 4<<10)
	n, err := io.ReadFull(stream, start)
	// The head may end within the compressed data. What is wrong further on shows when the file is read.
	if err != nil && n == 0 && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, f.fault(err)
	}
	return bytes.TrimLeft(bytes.TrimPrefix(start[:n], []byte("\ufeff")), " \t\r\n"), nil
}

// compressionOf tells gzip (RFC 1952 section 2.3.1) and zstd, whose first frame may be a skippable one (RFC 8878
// section 3.1), by their magic numbers.
func compressionOf(head []byte) Compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return Zstd
	default:
		return ""
	}
}
