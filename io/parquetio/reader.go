package parquetio

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/batchwright/batchwright/jobs"
)

// Records are cut from larger blocks, which saves an allocation for each value.
const (
	textBlock   = 64 << 10
	memberBlock = 256
)

// Reader reads the rows of a file as records.
type Reader struct {
	path    string
	file    *os.File
	index   int
	rows    int64
	row     int64
	groups  []rowGroup
	group   int
	inGroup int64
	nodes   []node
	names   []string
	columns []column
	text    []byte
	members []jobs.Member
	// rowBytes is the size of the last row's texts, to guess the next one's.
	rowBytes int
	problem  string
	err      error
}

// Open reads the records of a Parquet file from a row on, counted from 0. The file is the place of the file in the
// run's list, for the records' positions; the records' numbers are the caller's to set. Any fault in the file is
// one error that names it; only a value that has no JSON text (text that is not UTF-8, say) is the record's own
// Problem.
func Open(path string, file int, row int64) (jobs.Reader, error) {
	r := &Reader{path: path, index: file, row: row}
	if err := r.open(); err != nil {
		return nil, r.fault(err)
	}
	return r, nil
}

// ReadSchema returns the columns of a Parquet file and the number of its rows.
func ReadSchema(path string) (schema jobs.Schema, rows int64, err error) {
	r := &Reader{path: path}
	if err := r.open(); err != nil {
		return nil, 0, r.fault(err)
	}
	return schemaOf(r.nodes), r.rows, r.Close()
}

// fault words an error of the file for the person who has to deal with it.
func (r *Reader) fault(err error) error {
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("read Parquet file: %w", err)
	}
	if errors.Is(err, io.EOF) {
		// Some decompressors say so of a stream that is cut, and to callers it would mean that all is read.
		err = fmt.Errorf("%w: %v", io.ErrUnexpectedEOF, err) //nolint:errorlint // so that io.EOF is not in the chain
	}
	return fmt.Errorf("read Parquet file %s: %w; write it again or leave it out of the input", r.path, err)
}

func (r *Reader) open() (err error) {
	if r.file, err = os.Open(r.path); err != nil {
		return err
	}
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("it is damaged: %v", fault)
		}
		if err != nil {
			err = errors.Join(err, r.file.Close())
		}
	}()
	stat, err := r.file.Stat()
	if err != nil {
		return err
	}
	if !stat.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	footer, err := readFooter(r.file, stat.Size())
	if err != nil {
		return err
	}
	nodes, leaves, err := newSchemaTree(footer.schema)
	if err != nil {
		return err
	}
	r.nodes, r.groups, r.rows = nodes, footer.groups, footer.rows
	for i := range nodes {
		r.names = append(r.names, nodes[i].memberName())
	}
	r.columns = make([]column, len(leaves))
	for i := range leaves {
		r.columns[i].leaf = &leaves[i]
	}
	return r.seek()
}

// seek goes to the row that reading starts at.
func (r *Reader) seek() error {
	if r.row < 0 || r.row > r.rows {
		return fmt.Errorf("it has %d rows, and reading is to start at row %d: it has changed", r.rows, r.row)
	}
	left := r.row
	for r.group < len(r.groups) && left >= r.groups[r.group].rows {
		left -= r.groups[r.group].rows
		r.group++
	}
	if r.group == len(r.groups) {
		return nil
	}
	if err := r.openGroup(); err != nil {
		return err
	}
	r.inGroup = left
	if left == 0 {
		return nil
	}
	for i := range r.columns {
		if err := r.columns[i].skip(left); err != nil {
			return r.columnFault(i, err)
		}
	}
	return nil
}

func (r *Reader) openGroup() error {
	r.inGroup = 0
	group := &r.groups[r.group]
	if group.rows == 0 {
		return nil
	}
	for i := range r.columns {
		if err := r.columns[i].open(r.file, &group.chunks[i]); err != nil {
			return r.columnFault(i, err)
		}
	}
	return nil
}

func (r *Reader) columnFault(leaf int, err error) error {
	return fmt.Errorf("column %s of row group %d: %w", r.columns[leaf].leaf.path, r.group, err)
}

// Next returns the next record; io.EOF after the last one that the file's metadata count.
func (r *Reader) Next() (jobs.Record, error) {
	if r.err != nil {
		return jobs.Record{}, r.err
	}
	record, more, err := r.next()
	switch {
	case err != nil:
		r.err = r.fault(err)
	case !more:
		r.err = io.EOF
	}
	return record, r.err
}

func (r *Reader) next() (record jobs.Record, more bool, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			record, err = jobs.Record{}, fmt.Errorf("it is damaged: %v", fault)
		}
	}()
	if more, err = r.nextGroup(); err != nil || !more {
		return jobs.Record{}, false, err
	}
	fields, err := r.assemble()
	if err != nil {
		return jobs.Record{}, false, err
	}
	record.Position = jobs.Position{File: r.index, Row: r.row}
	if r.problem != "" {
		record.Problem, r.problem = r.problem, ""
	} else {
		record.Fields = fields
	}
	r.row++
	r.inGroup++
	return record, true, nil
}

// nextGroup goes on to the next row group with rows when the current one has ended, and reports whether there is
// one.
func (r *Reader) nextGroup() (bool, error) {
	for r.group < len(r.groups) && r.inGroup == r.groups[r.group].rows {
		if r.inGroup > 0 {
			for i := range r.columns {
				if c := &r.columns[i]; c.loaded || c.left > 0 {
					return false, r.columnFault(i, errors.New("it has values beyond its last row"))
				}
			}
		}
		r.group++
		if r.group == len(r.groups) {
			break
		}
		if err := r.openGroup(); err != nil {
			return false, err
		}
	}
	return r.group < len(r.groups), nil
}

// assemble makes the fields of the next row.
func (r *Reader) assemble() ([]jobs.Member, error) {
	for i := range r.columns {
		if c := &r.columns[i]; !c.peek() || c.rep != 0 {
			return nil, r.shortFault(i)
		}
	}
	if cap(r.text)-len(r.text) < r.rowBytes+r.rowBytes/2 {
		r.text = make([]byte, 0, max(textBlock, 4*r.rowBytes))
	}
	if len(r.members) < len(r.nodes) {
		r.members = make([]jobs.Member, max(memberBlock/max(len(r.nodes), 1), 1)*len(r.nodes))
	}
	fields := r.members[:len(r.nodes):len(r.nodes)]
	r.members = r.members[len(r.nodes):]
	r.rowBytes = 0
	for i := range r.nodes {
		start := len(r.text)
		r.text = r.appendValue(r.text, &r.nodes[i])
		r.rowBytes += len(r.text) - start
		fields[i] = jobs.Member{Name: r.names[i], Value: json.RawMessage(r.text[start:len(r.text):len(r.text)])}
	}
	for i := range r.columns {
		if err := r.columns[i].err; err != nil {
			return nil, r.columnFault(i, err)
		}
	}
	return fields, nil
}

func (r *Reader) shortFault(leaf int) error {
	err := r.columns[leaf].err
	if err == nil {
		err = errShort
		if r.columns[leaf].loaded {
			err = errShape
		}
	}
	return r.columnFault(leaf, err)
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }
