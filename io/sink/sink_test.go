package sink

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
)

var formats = []Format{JSONL, JSONLGzip, JSONLZstd, Parquet}

func testSchema() jobs.Schema {
	return jobs.Schema{{Name: "id", Type: jobs.Type{Kind: jobs.KindInteger}}, {Name: "text", Type: jobs.Type{Kind: jobs.KindString}}}
}

func testRow(id int, text string) []jobs.Member {
	return []jobs.Member{
		{Name: "id", Value: json.RawMessage(fmt.Sprint(id))},
		{Name: "text", Value: json.RawMessage(fmt.Sprintf("%q", text))},
	}
}

// writePart writes rows as a file of format f.
func writePart(tb testing.TB, f Format, rows ...[]jobs.Member) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "part"+f.Extension())
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	w, err := NewWriter(file, f, testSchema())
	if err != nil {
		tb.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// readBack reads a file as JSONL lines.
func readBack(tb testing.TB, path string, f Format) []string {
	tb.Helper()
	if f == Parquet {
		return readParquet(tb, path)
	}
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	stream := io.Reader(file)
	switch f {
	case JSONLGzip:
		if stream, err = gzip.NewReader(file); err != nil {
			tb.Fatal(err)
		}
	case JSONLZstd:
		decoder, err := zstd.NewReader(file)
		if err != nil {
			tb.Fatal(err)
		}
		defer decoder.Close()
		stream = decoder
	default:
	}
	var lines []string
	scanner := bufio.NewScanner(stream)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	if err := scanner.Err(); err != nil {
		tb.Fatal(err)
	}
	return lines
}

func readParquet(tb testing.TB, path string) []string {
	tb.Helper()
	r, err := parquetio.Open(path, 0, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var lines []string
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			tb.Fatal(err)
		}
		lines = append(lines, string(jsonl.AppendObject(nil, record.Fields)))
	}
}

func TestWriterAndConcatGiveAllRowsInOrder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		parts [][]int
	}{
		{"no parts", nil},
		{"one empty part", [][]int{{}}},
		{"one row", [][]int{{1}}},
		{"several parts", [][]int{{1, 2, 3}, {}, {4}, {5, 6}}},
	}
	for _, f := range formats {
		for _, test := range tests {
			t.Run(string(f)+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				var paths, want []string
				for _, ids := range test.parts {
					var rows [][]jobs.Member
					for _, id := range ids {
						rows = append(rows, testRow(id, "text"))
						want = append(want, fmt.Sprintf(`{"id":%d,"text":"text"}`, id))
					}
					paths = append(paths, writePart(t, f, rows...))
				}
				path := filepath.Join(t.TempDir(), "whole"+f.Extension())
				file, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				if err := Concat(file, f, testSchema(), paths); err != nil {
					t.Fatal(err)
				}
				if stat, err := file.Stat(); err != nil || stat.Size() == 0 && f != JSONL {
					t.Errorf("error %v; no bytes are no %s file, even of no rows", err, f)
				}
				if diff := cmp.Diff(want, readBack(t, path, f)); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestLinesAreNeverSplit holds that line breaks in a value, which valid JSON allows between its parts, stay out of
// the file, and those within strings stay escaped.
func TestLinesAreNeverSplit(t *testing.T) {
	t.Parallel()
	for _, f := range formats[:3] {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			path := writePart(
				t, f,
				[]jobs.Member{{Name: "a\nb", Value: json.RawMessage("{\n\t\"x\": [1,\r\n2]\r}")}, {Name: "s", Value: json.RawMessage(`"a\nb"`)}},
				testRow(1, "next"),
			)
			lines := readBack(t, path, f)
			if len(lines) != 2 {
				t.Fatalf("%d lines, want 2: %q", len(lines), lines)
			}
			var got, want any
			if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(`{"a\nb":{"x":[1,2]},"s":"a\nb"}`), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("first row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLinesKeepTheRowsOrderAndColumns(t *testing.T) {
	t.Parallel()
	path := writePart(t, JSONL, []jobs.Member{{Name: "z", Value: json.RawMessage("1.0")}, {Name: "a", Value: json.RawMessage("null")}})
	if diff := cmp.Diff([]string{`{"z":1.0,"a":null}`}, readBack(t, path, JSONL)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		path string
		want Format
	}{
		{"out.jsonl", JSONL},
		{"a/b.c/OUT.JSONL", JSONL},
		{"out.jsonl.gz", JSONLGzip},
		{"out.jsonl.zst", JSONLZstd},
		{"s3://bucket/out.parquet", Parquet},
		{"out.json", ""},
		{"out.gz", ""},
		{"out.csv", ""},
		{"parquet", ""},
		{"a.parquet/out", ""},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			got, err := FormatOf(test.path)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("FormatOf(%q) = %q, %v, want %q", test.path, got, err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), ".jsonl.zst or .parquet") {
				t.Errorf("the error %q does not say which endings there are", err)
			}
		})
	}
}

func TestOnlyParquetIsTyped(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		if f.Typed() != (f == Parquet) {
			t.Errorf("%s: Typed() = %v", f, f.Typed())
		}
	}
}

type brokenDisk struct{}

var errDisk = errors.New("disk is full")

func (brokenDisk) Write([]byte) (int, error) { return 0, errDisk }

func TestWriterPassesOnDiskErrors(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			w, err := NewWriter(brokenDisk{}, f, testSchema())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(testRow(1, "x")); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); !errors.Is(err, errDisk) {
				t.Errorf("Close: error %v, want the disk's", err)
			}
		})
	}
}

func TestConcatNamesAMissingPart(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		path := filepath.Join(t.TempDir(), "missing")
		if err := Concat(io.Discard, f, testSchema(), []string{path}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want os.ErrNotExist with the path", f, err)
		}
	}
}

func TestNewWriterRefusesUnknownFormats(t *testing.T) {
	t.Parallel()
	if _, err := NewWriter(io.Discard, "xml", nil); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("error %v, want one that names the format", err)
	}
}

func ExampleNewWriter() {
	var out bytes.Buffer
	w, err := NewWriter(&out, JSONL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Write([]jobs.Member{{Name: "id", Value: json.RawMessage("1")}, {Name: "label", Value: json.RawMessage(`"billing"`)}}))
	fmt.Println(w.Close())
	fmt.Print(out.String())
	// Output:
	// <nil>
	// <nil>
	// {"id":1,"label":"billing"}
}
