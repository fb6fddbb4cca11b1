package parquetio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/jobs"
)

// writeFile writes rows as a file of a new folder.
func writeFile(tb testing.TB, schema jobs.Schema, rows ...[]jobs.Member) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "out.parquet")
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	w, err := NewWriter(file, schema)
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

func member(name, value string) jobs.Member {
	return jobs.Member{Name: name, Value: json.RawMessage(value)}
}

// readRows reads a file's schema and all of its rows.
func readRows(tb testing.TB, path string) (jobs.Schema, [][]jobs.Member) {
	tb.Helper()
	schema, _, err := ReadSchema(path)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := Open(path, 0, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var rows [][]jobs.Member
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return schema, rows
		}
		if err != nil || record.Problem != "" {
			tb.Fatalf("row %d: error %v, problem %q", len(rows), err, record.Problem)
		}
		rows = append(rows, record.Fields)
	}
}

func TestWriterGivesBackWhatReaderGave(t *testing.T) {
	t.Parallel()
	for _, path := range fixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			schema, rows := readRows(t, path)
			again, got := readRows(t, writeFile(t, schema, rows...))
			if diff := cmp.Diff(schema, again); diff != "" {
				t.Errorf("schema (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(rows, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWriterBoundsRowGroups holds that a long file gets several row groups, which bounds the memory of both ends.
func TestWriterBoundsRowGroups(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.parquet")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := NewWriter(file, jobs.Schema{{Name: "n", Type: jobs.Type{Kind: jobs.KindInteger}}, {Name: "text", Type: jobs.Type{Kind: jobs.KindString}}})
	if err != nil {
		t.Fatal(err)
	}
	if w.limit != rowGroupBytes {
		t.Errorf("row groups end at %d bytes, want %d", w.limit, rowGroupBytes)
	}
	w.limit = 1 << 20
	const rows = 250
	for i := range rows {
		if err := w.Write([]jobs.Member{member("n", strconv.Itoa(i)), member("text", `"`+strings.Repeat("x", 10_000)+`"`)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := &Reader{path: path}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(r.groups) != 3 {
		t.Errorf("%d row groups, want 3", len(r.groups))
	}
	for i := range rows {
		record, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := record.Get("n"); string(n) != strconv.Itoa(i) {
			t.Fatalf("row %d has n = %s", i, n)
		}
	}
}

// TestMetadataStaySmall holds that long values do not stand in the metadata, and short ones' bounds do.
func TestMetadataStaySmall(t *testing.T) {
	t.Parallel()
	schema := jobs.Schema{{Name: "id", Type: jobs.Type{Kind: jobs.KindString}}, {Name: "prompt", Type: jobs.Type{Kind: jobs.KindString}}}
	var rows [][]jobs.Member
	for i := range 10 {
		rows = append(rows, []jobs.Member{
			member("id", fmt.Sprintf(`"row-%d"`, i)), member("prompt", fmt.Sprintf(`"%d %s"`, i, strings.Repeat("long text ", 10_000))),
		})
	}
	path := writeFile(t, schema, rows...)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	columns := opened.Metadata().RowGroups[0].Columns
	if s := columns[0].MetaData.Statistics; string(s.MinValue) != "row-0" || string(s.MaxValue) != "row-9" {
		t.Errorf("bounds of id are %q and %q", s.MinValue, s.MaxValue)
	}
	if s := columns[1].MetaData.Statistics; s.MinValue != nil || s.MaxValue != nil || s.NullCount != 0 {
		t.Errorf("bounds of prompt are %d and %d bytes", len(s.MinValue), len(s.MaxValue))
	}
	// A megabyte of text that repeats packs to little, unless it also stands unpacked somewhere.
	if len(content) > 10_000 {
		t.Errorf("the file has %d bytes", len(content))
	}
	if _, got := readRows(t, path); !cmp.Equal(rows, got) {
		t.Error("rows differ")
	}
}

func TestWriterTakesValuesThatFit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		typ   jobs.Type
		value string
		want  string // what is read back; "" when the value does not fit
	}{
		{"string", jobs.Type{Kind: jobs.KindString}, `"a\u00e9\n\ud83d\ude00"`, `"aé\n😀"`},
		{"string with space around", jobs.Type{Kind: jobs.KindString}, " \"a\"\n", `"a"`},
		{"number is no string", jobs.Type{Kind: jobs.KindString}, `1`, ""},
		{"list is no string", jobs.Type{Kind: jobs.KindString}, `["a"]`, ""},
		{"boolean", jobs.Type{Kind: jobs.KindBoolean}, `true`, `true`},
		{"string is no boolean", jobs.Type{Kind: jobs.KindBoolean}, `"true"`, ""},
		{"integer", jobs.Type{Kind: jobs.KindInteger}, `-9223372036854775808`, `-9223372036854775808`},
		{"integer over", jobs.Type{Kind: jobs.KindInteger}, `9223372036854775808`, ""},
		{"whole number as integer", jobs.Type{Kind: jobs.KindInteger}, `5.0`, `5`},
		{"exponent as integer", jobs.Type{Kind: jobs.KindInteger}, `1.5e3`, `1500`},
		{"exponent over", jobs.Type{Kind: jobs.KindInteger}, `1e19`, ""},
		{"exponent far over", jobs.Type{Kind: jobs.KindInteger}, `1e999999999`, ""},
		{"fraction is no integer", jobs.Type{Kind: jobs.KindInteger}, `1.5`, ""},
		{"8 bits over", jobs.Type{Kind: jobs.KindInteger, Bits: 8}, `128`, ""},
		{"8 bits over by exponent", jobs.Type{Kind: jobs.KindInteger, Bits: 8}, `1.28e2`, ""},
		{"unsigned", jobs.Type{Kind: jobs.KindInteger, Bits: 32, Unsigned: true}, `4294967295`, `4294967295`},
		{"unsigned below", jobs.Type{Kind: jobs.KindInteger, Unsigned: true}, `-1`, ""},
		{"unsigned by exponent", jobs.Type{Kind: jobs.KindInteger, Unsigned: true}, `1.8446744073709551615e19`, `18446744073709551615`},
		{"number", jobs.Type{Kind: jobs.KindNumber}, `1e300`, "1" + strings.Repeat("0", 300)},
		{"number over", jobs.Type{Kind: jobs.KindNumber}, `1e309`, ""},
		{"not a number", jobs.Type{Kind: jobs.KindNumber}, `"NaN"`, `"NaN"`},
		{"minus infinity, 32 bits", jobs.Type{Kind: jobs.KindNumber, Bits: 32}, `"-Infinity"`, `"-Infinity"`},
		{"hexadecimal is no number", jobs.Type{Kind: jobs.KindNumber}, `0x10`, ""},
		{"word is no number", jobs.Type{Kind: jobs.KindNumber}, `"inf"`, ""},
		{"decimal padded", jobs.Type{Kind: jobs.KindDecimal, Precision: 9, Scale: 3}, `-12.3`, `-12.300`},
		{"decimal with zeros beyond", jobs.Type{Kind: jobs.KindDecimal, Precision: 9, Scale: 3}, `0.1230000000000000000000`, `0.123`},
		{"decimal with digits beyond", jobs.Type{Kind: jobs.KindDecimal, Precision: 9, Scale: 3}, `0.1234`, ""},
		{"decimal over", jobs.Type{Kind: jobs.KindDecimal, Precision: 9, Scale: 3}, `1000000`, ""},
		{"decimal over in its digits", jobs.Type{Kind: jobs.KindDecimal, Precision: 18, Scale: 0}, `1000000000000000000`, ""},
		{"decimal over by its padding", jobs.Type{Kind: jobs.KindDecimal, Precision: 18, Scale: 18}, `999999999999999999`, ""},
		{"decimal of exponent", jobs.Type{Kind: jobs.KindDecimal, Precision: 18, Scale: 9}, `2.5E-3`, `0.002500000`},
		{"wide decimal", jobs.Type{Kind: jobs.KindDecimal, Precision: 20, Scale: 1}, `-0.5`, `-0.5`},
		{"wide decimal over", jobs.Type{Kind: jobs.KindDecimal, Precision: 20, Scale: 1}, `99999999999999999999`, ""},
		{"point alone is no decimal", jobs.Type{Kind: jobs.KindDecimal, Precision: 9, Scale: 3}, `1.`, ""},
		{"date", jobs.Type{Kind: jobs.KindDate}, `"2024-02-29"`, `"2024-02-29"`},
		{"date that is none", jobs.Type{Kind: jobs.KindDate}, `"2023-02-29"`, ""},
		{"date and more", jobs.Type{Kind: jobs.KindDate}, `"2024-02-29T"`, ""},
		{"time with fewer digits", jobs.Type{Kind: jobs.KindTime, Unit: "micros"}, `"13:45:07.5"`, `"13:45:07.500000"`},
		{"time without a fraction", jobs.Type{Kind: jobs.KindTime, Unit: "millis"}, `"13:45:07"`, `"13:45:07.000"`},
		{"time with digits beyond", jobs.Type{Kind: jobs.KindTime, Unit: "millis"}, `"13:45:07.1234"`, ""},
		{"time that is none", jobs.Type{Kind: jobs.KindTime, Unit: "millis"}, `"24:00:00"`, ""},
		{"timestamp with offset", jobs.Type{Kind: jobs.KindTimestamp, Unit: "millis", UTC: true}, `"2026-01-01T00:30:00+01:00"`, `"2025-12-31T23:30:00.000Z"`},
		{"timestamp without zone where one is due", jobs.Type{Kind: jobs.KindTimestamp, Unit: "millis", UTC: true}, `"2026-01-01T00:30:00"`, ""},
		{"timestamp with zone where none is due", jobs.Type{Kind: jobs.KindTimestamp, Unit: "millis"}, `"2026-01-01T00:30:00Z"`, ""},
		{"timestamp over", jobs.Type{Kind: jobs.KindTimestamp, Unit: "nanos"}, `"9999-12-31T00:00:00"`, ""},
		{"last timestamp", jobs.Type{Kind: jobs.KindTimestamp, Unit: "nanos"}, `"2262-04-11T23:47:16.854775807"`, `"2262-04-11T23:47:16.854775807"`},
		{"after the last timestamp", jobs.Type{Kind: jobs.KindTimestamp, Unit: "nanos"}, `"2262-04-11T23:47:16.854775808"`, ""},
		{"first timestamp", jobs.Type{Kind: jobs.KindTimestamp, Unit: "nanos"}, `"1677-09-21T00:12:43.145224192"`, `"1677-09-21T00:12:43.145224192"`},
		{"before the first timestamp", jobs.Type{Kind: jobs.KindTimestamp, Unit: "nanos"}, `"1677-09-21T00:12:43.145224191"`, ""},
		{"binary", jobs.Type{Kind: jobs.KindBinary}, `"AP\/+"`, `"AP/+"`},
		{"binary without padding", jobs.Type{Kind: jobs.KindBinary}, `"AA"`, ""},
		{"json", jobs.Type{Kind: jobs.KindJSON}, ` [1, {"a": null}] `, `[1, {"a": null}]`},
		{"json that is none", jobs.Type{Kind: jobs.KindJSON}, `[1`, ""},
		{"struct without members is json", jobs.Type{Kind: jobs.KindStruct}, `{"a":1}`, `{"a":1}`},
		{"list", listOf(jobs.Type{Kind: jobs.KindInteger}), `[1, null,2 ]`, `[1,null,2]`},
		{"list with a wrong element", listOf(jobs.Type{Kind: jobs.KindInteger}), `[1,"a"]`, ""},
		{"list that is cut", listOf(jobs.Type{Kind: jobs.KindInteger}), `[1,2`, ""},
		{"object is no list", listOf(jobs.Type{Kind: jobs.KindInteger}), `{}`, ""},
		{"struct in another order", structAB(), `{"b":[true],"a":1}`, `{"a":1,"b":[true]}`},
		{"struct with a member missing", structAB(), `{"b":[]}`, `{"a":null,"b":[]}`},
		{"struct with a member too many", structAB(), `{"c":1}`, ""},
		{"list is no struct", structAB(), `[]`, ""},
		{"map", mapOf(listOf(jobs.Type{Kind: jobs.KindString})), `{"k\"":["a"],"":null}`, `{"k\"":["a"],"":null}`},
		{"list is no map", mapOf(jobs.Type{Kind: jobs.KindString}), `[]`, ""},
		{"nothing is null", jobs.Type{Kind: jobs.KindInteger}, ``, `null`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			schema := jobs.Schema{{Name: "before", Type: structAB()}, {Name: "c", Type: test.typ}}
			var file bytes.Buffer
			w, err := NewWriter(&file, schema)
			if err != nil {
				t.Fatal(err)
			}
			before := member("before", `{"a":1,"b":[true,false]}`)
			err = w.Write([]jobs.Member{before, member("c", test.value)})
			if test.want == "" {
				if err == nil {
					t.Fatal("the value was taken")
				}
				secret := strings.Trim(test.value, `"`)
				if !strings.Contains(err.Error(), `"c"`) || len(secret) > 3 && strings.Contains(err.Error(), secret) {
					t.Errorf("error %q: want the column's name and not the value", err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			// The writer goes on after a refused row, and no trace of it is left.
			if err := w.Write([]jobs.Member{before}); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "out.parquet")
			if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			var want []string
			if test.want != "" {
				want = append(want, `{"before":{"a":1,"b":[true,false]},"c":`+test.want+`}`)
			}
			want = append(want, `{"before":{"a":1,"b":[true,false]},"c":null}`)
			var got []string
			_, rows := readRows(t, path)
			for _, row := range rows {
				got = append(got, string(jsonl.AppendObject(nil, row)))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func listOf(element jobs.Type) jobs.Type { return jobs.Type{Kind: jobs.KindList, Element: &element} }

func mapOf(element jobs.Type) jobs.Type { return jobs.Type{Kind: jobs.KindMap, Element: &element} }

func structAB() jobs.Type {
	return jobs.Type{Kind: jobs.KindStruct, Fields: []jobs.Column{
		{Name: "a", Type: jobs.Type{Kind: jobs.KindInteger}}, {Name: "b", Type: listOf(jobs.Type{Kind: jobs.KindBoolean})},
	}}
}

func TestWriterRefusesUnknownColumns(t *testing.T) {
	t.Parallel()
	w, err := NewWriter(io.Discard, jobs.Schema{{Name: "a", Type: jobs.Type{Kind: jobs.KindString}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write([]jobs.Member{member("b", `"x"`)}); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("Write: error %v, want one that names the column", err)
	}
}

func TestNewWriterRefusesSchemas(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		schema jobs.Schema
		want   string
	}{
		{"no columns", nil, "at least one column"},
		{"same name twice", jobs.Schema{{Name: "a", Type: jobs.Type{Kind: jobs.KindString}}, {Name: "a", Type: jobs.Type{Kind: jobs.KindDate}}}, `"a"`},
		{"unknown kind", jobs.Schema{{Name: "a", Type: jobs.Type{Kind: "colour"}}}, `"colour"`},
		{"no unit", jobs.Schema{{Name: "a", Type: jobs.Type{Kind: jobs.KindTimestamp}}}, "unit"},
		{"odd width", jobs.Schema{{Name: "a", Type: jobs.Type{Kind: jobs.KindInteger, Bits: 24}}}, "24 bits"},
		{"scale over precision", jobs.Schema{{Name: "a", Type: jobs.Type{Kind: jobs.KindDecimal, Precision: 2, Scale: 3}}}, "decimal(2,3)"},
		{"list of nothing", jobs.Schema{{Name: "a", Type: jobs.Type{Kind: jobs.KindList}}}, "elements"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewWriter(io.Discard, test.schema); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("NewWriter: error %v, want one with %q", err, test.want)
			}
		})
	}
}

type brokenDisk struct{}

var errDisk = errors.New("disk is full")

func (brokenDisk) Write([]byte) (int, error) { return 0, errDisk }

func TestWriterPassesOnDiskErrors(t *testing.T) {
	t.Parallel()
	w, err := NewWriter(brokenDisk{}, jobs.Schema{{Name: "a", Type: jobs.Type{Kind: jobs.KindString}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write([]jobs.Member{member("a", `"x"`)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, errDisk) {
		t.Errorf("Close: error %v, want the disk's", err)
	}
	if err := w.Write(nil); !errors.Is(err, errDisk) {
		t.Errorf("Write afterwards: error %v, want the disk's", err)
	}
}

func ExampleNewWriter() {
	path := filepath.Join(os.TempDir(), "batchwright-example.parquet")
	file, _ := os.Create(path)
	defer os.Remove(path)
	w, err := NewWriter(file, jobs.Schema{
		{Name: "id", Type: jobs.Type{Kind: jobs.KindInteger}},
		{Name: "cost", Type: jobs.Type{Kind: jobs.KindDecimal, Precision: 18, Scale: 9}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Write([]jobs.Member{{Name: "id", Value: json.RawMessage("7")}, {Name: "cost", Value: json.RawMessage("0.0021")}}))
	fmt.Println(w.Write([]jobs.Member{{Name: "id", Value: json.RawMessage(`"seven"`)}}))
	fmt.Println(w.Close(), file.Close())
	r, _ := Open(path, 0, 0)
	defer r.Close()
	record, _ := r.Next()
	for _, field := range record.Fields {
		fmt.Printf("%s %s\n", field.Name, field.Value)
	}
	// Output:
	// <nil>
	// write row: a value of column "id" does not fit its type, integer
	// <nil> <nil>
	// id 7
	// cost 0.002100000
}
