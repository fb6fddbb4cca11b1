package parquetio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/jobs"
)

// readLines reads a file from a row on as the lines that JSONL output would have.
func readLines(tb testing.TB, path string, row int64) []string {
	tb.Helper()
	r, err := Open(path, 3, row)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var records []jobs.Record
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		if record.Problem != "" {
			tb.Fatalf("row %d: problem %q", row, record.Problem)
		}
		if want := (jobs.Position{File: 3, Row: row}); record.Position != want {
			tb.Errorf("position %+v, want %+v", record.Position, want)
		}
		row++
		records = append(records, record)
	}
	// Only now, so that fields are seen to stay valid after later calls.
	var lines []string
	for i := range records {
		lines = append(lines, string(jsonl.AppendObject(nil, records[i].Fields)))
	}
	return lines
}

func wantLines(tb testing.TB, path string) []string {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func fixtures(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no fixtures: %v", err)
	}
	return paths
}

// expectation is the file that says what reading a fixture gives.
func expectation(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return filepath.Join(filepath.Dir(path), name+".jsonl")
}

func TestReaderReadsWhatOthersWrite(t *testing.T) {
	t.Parallel()
	for _, path := range fixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			want := wantLines(t, expectation(path))
			if diff := cmp.Diff(want, readLines(t, path, 0)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			_, rows, err := ReadSchema(path)
			if err != nil || rows != int64(len(want)) {
				t.Errorf("ReadSchema gives %d rows and error %v, want %d rows", rows, err, len(want))
			}
		})
	}
}

func TestReaderStartsAtAnyRow(t *testing.T) {
	t.Parallel()
	for _, path := range fixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			want := wantLines(t, expectation(path))
			for row := 0; row <= len(want); row += max(1, len(want)/29) {
				if diff := cmp.Diff(want[row:], readLines(t, path, int64(row)), cmp.Transformer("empty", func(s []string) []string {
					return append([]string{}, s...)
				})); diff != "" {
					t.Fatalf("from row %d (-want +got):\n%s", row, diff)
				}
			}
			if _, err := Open(path, 0, int64(len(want)+1)); err == nil || !strings.Contains(err.Error(), "has changed") {
				t.Errorf("Open beyond the last row: error %v, want one that says the file has changed", err)
			}
		})
	}
}

func TestReadSchemaTellsTypes(t *testing.T) {
	t.Parallel()
	got, _, err := ReadSchema("testdata/types.zstd.parquet")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(typesSchema(), got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

// typesSchema is the schema of the types fixtures.
func typesSchema() jobs.Schema {
	list := func(element jobs.Type) jobs.Type { return jobs.Type{Kind: jobs.KindList, Element: &element} }
	dict := func(element jobs.Type) jobs.Type { return jobs.Type{Kind: jobs.KindMap, Element: &element} }
	integer := func(bits int, unsigned bool) jobs.Type {
		return jobs.Type{Kind: jobs.KindInteger, Bits: bits, Unsigned: unsigned}
	}
	decimal := func(precision, scale int) jobs.Type {
		return jobs.Type{Kind: jobs.KindDecimal, Precision: precision, Scale: scale}
	}
	moment := func(kind jobs.Kind, unit string, utc bool) jobs.Type {
		return jobs.Type{Kind: kind, Unit: unit, UTC: utc}
	}
	text, number, binary := jobs.Type{Kind: jobs.KindString}, jobs.Type{Kind: jobs.KindNumber}, jobs.Type{Kind: jobs.KindBinary}
	return jobs.Schema{
		{Name: "text", Type: text},
		{Name: "large", Type: text},
		{Name: "label", Type: text},
		{Name: "flag", Type: jobs.Type{Kind: jobs.KindBoolean}},
		{Name: "i8", Type: integer(8, false)},
		{Name: "i16", Type: integer(16, false)},
		{Name: "i32", Type: integer(32, false)},
		{Name: "i64", Type: integer(0, false)},
		{Name: "u8", Type: integer(8, true)},
		{Name: "u16", Type: integer(16, true)},
		{Name: "u32", Type: integer(32, true)},
		{Name: "u64", Type: integer(0, true)},
		{Name: "f16", Type: jobs.Type{Kind: jobs.KindNumber, Bits: 32}},
		{Name: "f32", Type: jobs.Type{Kind: jobs.KindNumber, Bits: 32}},
		{Name: "f64", Type: number},
		{Name: "dec9", Type: decimal(9, 3)},
		{Name: "dec18", Type: decimal(18, 9)},
		{Name: "dec38", Type: decimal(38, 2)},
		{Name: "dec76", Type: decimal(76, 0)},
		{Name: "day", Type: jobs.Type{Kind: jobs.KindDate}},
		{Name: "clock_ms", Type: moment(jobs.KindTime, "millis", false)},
		{Name: "clock_us", Type: moment(jobs.KindTime, "micros", false)},
		{Name: "clock_ns", Type: moment(jobs.KindTime, "nanos", false)},
		{Name: "at_ms", Type: moment(jobs.KindTimestamp, "millis", false)},
		{Name: "at_us", Type: moment(jobs.KindTimestamp, "micros", true)},
		{Name: "at_ns", Type: moment(jobs.KindTimestamp, "nanos", true)},
		{Name: "bytes", Type: binary},
		{Name: "fixed", Type: binary},
		{Name: "id", Type: text},
		{Name: "doc", Type: jobs.Type{Kind: jobs.KindJSON}},
		{Name: "nothing", Type: text},
		{Name: "ints", Type: list(integer(32, false))},
		{Name: "nested", Type: list(list(text))},
		{Name: "pair", Type: jobs.Type{Kind: jobs.KindStruct, Fields: []jobs.Column{
			{Name: "x", Type: integer(0, false)}, {Name: "y", Type: list(number)},
		}}},
		{Name: "turns", Type: list(jobs.Type{Kind: jobs.KindStruct, Fields: []jobs.Column{
			{Name: "role", Type: text}, {Name: "tags", Type: list(text)},
		}})},
		{Name: "counts", Type: dict(integer(32, false))},
		{Name: "by_number", Type: dict(list(text))},
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile("testdata/types.zstd.parquet")
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Clone(whole)
	copy(long[len(long)-8:], "\xff\xff\xff\x7f")
	tests := []struct {
		name    string
		content []byte
		want    string
	}{
		{"empty", nil, "too short"},
		{"text", []byte("id,text\n1,hello world\n"), "does not start with PAR1"},
		{"cut off", whole[:len(whole)-100], "is cut off"},
		{"footer longer than the file", long, "more than there can be"},
		{"encrypted", append([]byte("PARE"), whole[4:]...), "encrypted"},
		{"no metadata", []byte("PAR1\x00\x00\x00\x00PAR1"), "malformed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "in.parquet")
			if err := os.WriteFile(path, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path, 0, 0)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("Open: error %v, want one with %q and the path", err, test.want)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		t.Parallel()
		if _, err := Open("testdata/none.parquet", 0, 0); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Open: error %v, want one that is os.ErrNotExist", err)
		}
	})
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		if _, err := Open(t.TempDir(), 0, 0); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("Open: error %v, want one that says it is no regular file", err)
		}
	})
}

// TestFaultIsNeverTheEnd holds that a fault cannot be taken for the end of the file, whatever a library returned.
func TestFaultIsNeverTheEnd(t *testing.T) {
	t.Parallel()
	r := &Reader{path: "in.parquet"}
	if err := r.fault(fmt.Errorf("decompress: %w", io.EOF)); errors.Is(err, io.EOF) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("fault: %v, want io.ErrUnexpectedEOF and not io.EOF in its chain", err)
	}
}

func ExampleOpen() {
	r, err := Open("testdata/int96.parquet", 0, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fmt.Fprintln(out, err)
			return
		}
		at, _ := record.Get("at")
		fmt.Fprintf(out, "row %d: %s\n", record.Position.Row, at)
	}
	// Output:
	// row 2: "2023-11-14T22:13:20.123456789"
	// row 3: null
}
