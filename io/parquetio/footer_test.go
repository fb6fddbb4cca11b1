package parquetio

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// fileOf wraps metadata as the end of a file, with room for pages before it.
func fileOf(metadata []byte) []byte {
	file := append([]byte("PAR1"), make([]byte, 1000)...)
	file = append(file, metadata...)
	n := len(metadata)
	return append(file, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), 'P', 'A', 'R', '1')
}

func marshal(t *testing.T, metadata *format.FileMetaData) []byte {
	t.Helper()
	var protocol thrift.CompactProtocol
	b, err := thrift.Marshal(&protocol, metadata)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plainMetadata describes a file of one column and two rows.
func plainMetadata() *format.FileMetaData {
	return &format.FileMetaData{
		Version: 1,
		Schema: []format.SchemaElement{
			{Name: "schema", NumChildren: thrift.New[int32](1)},
			{Name: "a", Type: thrift.New(format.Int64), RepetitionType: thrift.New(format.Required)},
		},
		NumRows: 2,
		RowGroups: []format.RowGroup{{NumRows: 2, Columns: []format.ColumnChunk{{MetaData: format.ColumnMetaData{
			Type: format.Int64, NumValues: 2, DataPageOffset: 4, TotalCompressedSize: 100,
		}}}}},
	}
}

func TestReadFooterChecksMetadata(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*format.FileMetaData)
		want   string
	}{
		{"nothing wrong", func(*format.FileMetaData) {}, ""},
		{"row group with too few rows", func(m *format.FileMetaData) { m.RowGroups[0].NumRows = 1 }, "claims 2 rows and has 1"},
		{"row group with too many rows", func(m *format.FileMetaData) { m.RowGroups[0].NumRows = 3 }, "claims 3 rows"},
		{"row group with less than no rows", func(m *format.FileMetaData) { m.RowGroups[0].NumRows = -1 }, "claims -1 rows"},
		{"row group with a column less", func(m *format.FileMetaData) { m.RowGroups[0].Columns = nil }, "0 columns"},
		{"column before the file", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.DataPageOffset = -4 }, "outside of the file"},
		{"column beyond the file", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.TotalCompressedSize = 1 << 40 }, "outside of the file"},
		{"column of negative length", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.TotalCompressedSize = -1 }, "outside of the file"},
		{"column with less than no values", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.NumValues = -1 }, "-1 values"},
		{"unknown fields", func(m *format.FileMetaData) {
			m.CreatedBy, m.KeyValueMetadata = "someone", []format.KeyValue{{Key: "k", Value: "v"}}
		}, ""},
		{"column in another file", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].FilePath = "b.parquet" }, "another file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			metadata := plainMetadata()
			test.change(metadata)
			file := fileOf(marshal(t, metadata))
			_, err := readFooter(bytes.NewReader(file), int64(len(file)))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("error %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestReadFooterRefusesMalformedMetadata holds that metadata that lack what a file must have, or claim more than
// there is room for, are refused; each would else read as a file of no rows, or take memory without bound.
func TestReadFooterRefusesMalformedMetadata(t *testing.T) {
	t.Parallel()
	good := marshal(t, plainMetadata())
	tests := []struct {
		name     string
		metadata []byte
	}{
		{"empty", nil},
		{"an end too early", []byte{0x00}},
		{"no row groups", []byte{0x15, 0x02, 0x19, 0x0c, 0x16, 0x00, 0x00}},
		{"rows of another type", []byte{0x15, 0x02, 0x19, 0x0c, 0x15, 0x00, 0x19, 0x0c, 0x00}},
		{"something behind the end", append(bytes.Clone(good), 1, 2, 3)},
		{"cut", good[:len(good)-1]},
		{"a list of two billion", []byte{0x15, 0x02, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00}},
		{"a text of two billion", []byte{0x15, 0x02, 0x68, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00}},
		{"structs without end", bytes.Repeat([]byte{0x1c}, 5000)},
		{"lists without end", append([]byte{0x19}, bytes.Repeat([]byte{0x19}, 5000)...)},
		{"an unknown field nested too deeply", slices.Concat(
			good[:len(good)-1], []byte{0x0c, 0xc8, 0x01}, bytes.Repeat([]byte{0x1c}, 40), make([]byte, 41), []byte{0},
		)},
		{"maps without end", append([]byte{0x1b}, bytes.Repeat([]byte{0x01, 0xbb}, 5000)...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := fileOf(test.metadata)
			if footer, err := readFooter(bytes.NewReader(file), int64(len(file))); err == nil {
				t.Errorf("read as %+v", footer)
			}
		})
	}
}

func TestPageHeadersAreChecked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header pageHeader
		want   string
	}{
		{"nothing wrong", pageHeader{size: 100, packed: 50}, ""},
		{"larger than its column", pageHeader{size: 100, packed: 1001}, "larger than its column"},
		{"negative", pageHeader{size: -1, packed: 50}, "impossible"},
		{"levels larger than the page", pageHeader{size: 100, packed: 50, repLen: 30, defLen: 30}, "impossible"},
		{"unpacked to gigabytes", pageHeader{size: 1 << 31, packed: 50}, "smaller pages"},
		{"dictionary of billions", pageHeader{kind: format.DictionaryPage, size: 100, packed: 50, values: 1 << 30}, "dictionary"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.header.check(1000)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
