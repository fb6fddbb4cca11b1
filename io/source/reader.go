package source

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/batchwright/batchwright/io/csvio"
	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
)

// Schema returns the columns and the number of rows of Parquet files, from their footers, and true; for text, which
// has no types, it returns false. Files that differ are an error that names two of them and the first column in
// which they do.
func (f Files) Schema() (schema jobs.Schema, rows int64, typed bool, err error) {
	if len(f) == 0 || f[0].Format != Parquet {
		return nil, 0, false, nil
	}
	for i := range f {
		columns, n, err := parquetio.ReadSchema(f[i].Path)
		if err != nil {
			return nil, 0, false, err // names the file
		}
		rows += n
		if i == 0 {
			schema = columns
			continue
		}
		if difference := differ(schema, columns); difference != "" {
			return nil, 0, false, fmt.Errorf("%s and %s have different columns: %s; make them alike or run them as two jobs",
				f[0].Path, f[i].Path, difference)
		}
	}
	return schema, rows, true, nil
}

// Header returns the names of the columns that the headers of CSV and TSV files give, each once, in the order in which
// they come. They are columns also of files without a row.
func (f Files) Header() ([]string, error) {
	var names []string
	for i := range f {
		if f[i].Format != CSV && f[i].Format != TSV {
			continue
		}
		file, err := f[i].open(jobs.Position{})
		if err != nil {
			return nil, err // names the file
		}
		if rows, ok := file.(*textFile).records.(*csvio.Reader); ok {
			for _, name := range rows.Header() {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("close %s: %w", f[i].Path, err)
		}
	}
	return names, nil
}

// differ names the first column in which two schemas differ, or nothing.
func differ(a, b jobs.Schema) string {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i].Name != b[i].Name:
			return fmt.Sprintf("column %d is %q in the first and %q in the second", i+1, a[i].Name, b[i].Name)
		case a[i].Type.Kind != b[i].Type.Kind:
			return fmt.Sprintf("column %q is of type %s in the first and %s in the second", a[i].Name, a[i].Type.Kind, b[i].Type.Kind)
		case !reflect.DeepEqual(a[i].Type, b[i].Type):
			return fmt.Sprintf("column %q is of type %s in both, but not of the same width, unit or parts", a[i].Name, a[i].Type.Kind)
		}
	}
	switch {
	case len(a) > len(b):
		return fmt.Sprintf("column %q is only in the first", a[len(b)].Name)
	case len(a) < len(b):
		return fmt.Sprintf("column %q is only in the second", b[len(a)].Name)
	default:
		return ""
	}
}

// Open reads the records of all files in order, from a position on: the zero one is the start, others come from
// records read earlier. It numbers them from first on. Files are opened as reading comes to them, except the one at
// the position. Plain text starts at its offset and Parquet at its row; compressed text is decompressed from its
// start. Errors name the file.
func (f Files) Open(at jobs.Position, first int64) (jobs.Reader, error) {
	if at.File < 0 || at.File > len(f) {
		return nil, fmt.Errorf("input has %d files, and none at index %d", len(f), at.File)
	}
	r := &reader{files: f, at: at, number: first}
	if at.File < len(f) {
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// reader reads files one after the other. It is for use by one goroutine.
type reader struct {
	files  Files
	at     jobs.Position // where reading of the current file starts
	file   jobs.Reader   // the current one; nil between files
	number int64         // of the next record
	err    error
}

func (r *reader) open() (err error) {
	r.file, err = r.files[r.at.File].open(r.at)
	return err
}

// Next returns the next record of any file.
func (r *reader) Next() (jobs.Record, error) {
	for r.err == nil {
		if r.at.File >= len(r.files) {
			r.err = io.EOF
			break
		}
		if r.file == nil {
			if r.err = r.open(); r.err != nil {
				break
			}
		}
		record, err := r.file.Next()
		if err == nil {
			record.Number = r.number
			r.number++
			return record, nil
		}
		if !errors.Is(err, io.EOF) {
			r.err = err
			break
		}
		r.err = r.Close()
		r.at = jobs.Position{File: r.at.File + 1}
	}
	return jobs.Record{}, r.err
}

// Close closes the current file.
func (r *reader) Close() error {
	if r.file == nil {
		return nil
	}
	file := r.file
	r.file = nil
	return file.Close()
}
