package parquetio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// maxBoundBytes bounds the least and greatest values in a file's metadata. parquet-go keeps them whole, so that
// columns of prompts would make metadata of megabytes; no reader finds rows by the bounds of long texts.
const maxBoundBytes = 64

// fileEnd passes on what is written, and from hold on keeps it back.
type fileEnd struct {
	out  io.Writer
	held *bytes.Buffer
}

func (e *fileEnd) Write(p []byte) (int, error) {
	if e.held != nil {
		return e.held.Write(p)
	}
	return e.out.Write(p)
}

// hold keeps back what is written from now on.
func (e *fileEnd) hold() { e.held = new(bytes.Buffer) }

// release writes what was kept back, the end of a Parquet file, without bounds that are too long.
func (e *fileEnd) release() error {
	end, err := trimBounds(e.held.Bytes())
	if err != nil {
		return err
	}
	_, err = e.out.Write(end)
	return err
}

// trimBounds takes the bounds that are too long out of the metadata at the end of a file.
func trimBounds(end []byte) ([]byte, error) {
	tail := len(end) - 8
	start := tail - int(binary.LittleEndian.Uint32(end[tail:]))
	var protocol thrift.CompactProtocol
	var metadata format.FileMetaData
	if err := thrift.Unmarshal(&protocol, end[start:tail], &metadata); err != nil {
		return nil, fmt.Errorf("read back metadata: %w", err)
	}
	trimmed := false
	for g := range metadata.RowGroups {
		for c := range metadata.RowGroups[g].Columns {
			s := &metadata.RowGroups[g].Columns[c].MetaData.Statistics
			if len(s.MinValue) > maxBoundBytes || len(s.MaxValue) > maxBoundBytes {
				// One without the other is of no use to readers, and some refuse it.
				s.MinValue, s.MaxValue, trimmed = nil, nil, true
			}
		}
	}
	if !trimmed {
		return end, nil
	}
	short, err := thrift.Marshal(&protocol, &metadata)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	out := append(end[:start:start], short...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(short))) //nolint:gosec // shorter than what fitted before
	return append(out, end[tail+4:]...), nil
}
