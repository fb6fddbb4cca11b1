package parquetio

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/jobs"
)

const (
	// rowGroupBytes ends a row group when its rows came to so many bytes of JSON.
	rowGroupBytes = 128 << 20
	// Rows go to the column writers together up to these bounds: fewer cost more calls, more cost memory and
	// make pages overshoot their target size.
	batchRows  = 64
	batchBytes = 256 << 10
)

// Writer writes rows as one Parquet file: zstd, statistics, every column optional. It is not safe for concurrent
// use.
type Writer struct {
	file    *parquet.GenericWriter[any]
	end     *fileEnd
	columns []shredder
	names   []string
	index   map[string]int
	leaves  []*parquet.ColumnWriter
	batch   batch
	values  []json.RawMessage
	lengths []int
	rows    int
	// rowGroup is the size so far of a row group, which ends at limit.
	rowGroup, limit int64
	err             error
}

// NewWriter starts a Parquet file of the schema on w. The first error of w is final.
func NewWriter(w io.Writer, schema jobs.Schema) (*Writer, error) {
	end := &fileEnd{out: w}
	file, err := newFile(end, schema)
	if err != nil {
		return nil, err
	}
	writer := &Writer{
		file:    file,
		end:     end,
		columns: make([]shredder, len(schema)),
		names:   schema.Names(),
		index:   make(map[string]int, len(schema)),
		leaves:  file.ColumnWriters(),
		values:  make([]json.RawMessage, len(schema)),
		limit:   rowGroupBytes,
	}
	leaf := 0
	for i := range schema {
		writer.index[schema[i].Name] = i
		writer.columns[i] = newShredder(&schema[i].Type, 1, 0, leaf)
		leaf = writer.columns[i].last
	}
	writer.batch.columns = make([][]parquet.Value, leaf)
	writer.lengths = make([]int, leaf)
	return writer, nil
}

func newFile(w io.Writer, schema jobs.Schema) (*parquet.GenericWriter[any], error) {
	root, err := schemaNode(schema)
	if err != nil {
		return nil, fmt.Errorf("lay out Parquet columns: %w", err)
	}
	return parquet.NewGenericWriter[any](
		w, root,
		parquet.Compression(&parquet.Zstd),
		// Plain under zstd is what every reader reads, and lets Concat copy row groups as they are.
		parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.Plain),
		// Pages have their bounds, cut short, in the page index; in their headers they would stand whole.
		parquet.DataPageStatistics(false),
		parquet.CreatedBy("batchwright", "1", ""),
	), nil
}

// Write adds a row. Columns that it lacks are null. A value that does not fit its column, or a member that is no
// column, is an error that leaves the row out and the writer usable.
func (w *Writer) Write(row []jobs.Member) error {
	if w.err != nil {
		return w.err
	}
	clear(w.values)
	size := 0
	for i := range row {
		// Rows mostly come in the order of the schema, which saves the look-up.
		at := i
		if at >= len(w.names) || w.names[at] != row[i].Name {
			var ok bool
			if at, ok = w.index[row[i].Name]; !ok {
				return fmt.Errorf("write row: there is no column %q", row[i].Name)
			}
		}
		w.values[at] = row[i].Value
		size += len(row[i].Value)
	}
	for i, values := range w.batch.columns {
		w.lengths[i] = len(values)
	}
	for i := range w.columns {
		if !w.fits(&w.columns[i], w.values[i]) {
			for leaf, length := range w.lengths {
				w.batch.columns[leaf] = w.batch.columns[leaf][:length]
			}
			return fmt.Errorf("write row: a value of column %q does not fit its type, %s", w.names[i], w.columns[i].typ.Kind)
		}
	}
	w.rows++
	w.rowGroup += int64(size)
	if w.rows >= batchRows || len(w.batch.bytes) >= batchBytes {
		w.flush()
	}
	if w.rowGroup >= w.limit {
		w.endRowGroup()
	}
	return w.err
}

// fits shreds one column's value; nested ones are checked to be JSON first, as walking them relies on it.
func (w *Writer) fits(s *shredder, value json.RawMessage) bool {
	if s.children != nil && value != nil && !json.Valid(value) {
		return false
	}
	return s.write(&w.batch, value, 0)
}

func (w *Writer) flush() {
	for i, values := range w.batch.columns {
		if w.err == nil && len(values) > 0 {
			if _, err := w.leaves[i].WriteRowValues(values); err != nil {
				w.err = fmt.Errorf("write Parquet column %d: %w", i, err)
			}
		}
		clear(values)
		w.batch.columns[i] = values[:0]
	}
	if cap(w.batch.bytes) > 4*batchBytes {
		w.batch.bytes = nil
	}
	w.batch.bytes = w.batch.bytes[:0]
	w.rows = 0
}

func (w *Writer) endRowGroup() {
	w.flush()
	w.rowGroup = 0
	if w.err != nil {
		return
	}
	if err := w.file.Flush(); err != nil {
		w.err = fmt.Errorf("write Parquet row group: %w", err)
	}
}

// Close ends the file. It does not close the io.Writer.
func (w *Writer) Close() error {
	w.endRowGroup()
	if w.err != nil {
		return w.err
	}
	w.end.hold()
	if err := w.file.Close(); err != nil {
		w.err = fmt.Errorf("write Parquet footer: %w", err)
		return w.err
	}
	if err := w.end.release(); err != nil {
		w.err = fmt.Errorf("write Parquet footer: %w", err)
	}
	return w.err
}
