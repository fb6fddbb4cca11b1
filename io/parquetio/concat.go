package parquetio

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/jobs"
)

// Concat writes the rows of part files, each made by a Writer of the same schema, to w as one file. Row groups
// are copied as they are, compressed, so memory is bounded and speed is the disk's. Without parts the file has
// no rows.
func Concat(w io.Writer, schema jobs.Schema, parts []string) error {
	file, err := newFile(w, schema)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err := appendPart(file, part); err != nil {
			return fmt.Errorf("append Parquet part %s: %w", part, err)
		}
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write Parquet footer: %w", err)
	}
	return nil
}

func appendPart(file *parquet.GenericWriter[any], path string) (err error) {
	// parquet-go panics on some faults in a file.
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the file is damaged: %v", fault)
		}
	}()
	part, err := os.Open(path) //nolint:gosec // the paths are the run's own parts
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	stat, err := part.Stat()
	if err != nil {
		return err
	}
	opened, err := parquet.OpenFile(part, stat.Size(), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	for _, group := range opened.RowGroups() {
		if _, err := file.WriteRowGroup(group); err != nil {
			return err
		}
	}
	return nil
}
