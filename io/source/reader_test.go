package source

import (
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
	"go.uber.org/goleak"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func resolve(t *testing.T, dir string, inputs ...string) Files {
	t.Helper()
	files, err := Resolve(dir, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// read returns all records from a position on.
func read(t *testing.T, files Files, at jobs.Position, first int64) []jobs.Record {
	t.Helper()
	r, err := files.Open(at, first)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var records []jobs.Record
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return records
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
}

// parquetFile returns the bytes of a file with one integer column.
func parquetFile(t *testing.T, column jobs.Column, values ...string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := parquetio.NewWriter(&b, jobs.Schema{column})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range values {
		if err := w.Write([]jobs.Member{{Name: column.Name, Value: json.RawMessage(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var integer = jobs.Column{Name: "n", Type: jobs.Type{Kind: jobs.KindInteger}}

// All formats and compressions read as one sequence, numbered through, with each file's own rows.
func TestOpenReadsAllFiles(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"1.jsonl": "{\"n\":1}\n\nbroken\n", "2.csv": "n\n2\n", "3.tsv.gz": gzipped(t, "n\n3\n", "4\n"),
		"4.jsonl.zst": zstandard(t, "{\"n\":5}\n{\"n\"", ":6}"), "5.jsonl": "", "6.json": "{\"n\":7}",
	})
	var got []string
	for _, record := range read(t, resolve(t, dir, "*"), jobs.Position{}, 100) {
		value, _ := record.Get("n")
		p := record.Position
		got = append(got, fmt.Sprintf("%d: file %d row %d line %d %s%s", record.Number, p.File, p.Row, p.Line, value, record.Problem))
	}
	want := []string{
		"100: file 0 row 0 line 1 1", "101: file 0 row 1 line 3 invalid JSON at byte 1", `102: file 1 row 0 line 2 "2"`,
		`103: file 2 row 0 line 2 "3"`, `104: file 2 row 1 line 3 "4"`,
		"105: file 3 row 0 line 1 5", "106: file 3 row 1 line 2 6", "107: file 5 row 0 line 1 7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// Reading can go on at every record of every format, compressed or not.
func TestOpenResumes(t *testing.T) {
	t.Parallel()
	jsonLines, rows := "", "n,text\n"
	var values []string
	for i := range 40 {
		jsonLines += fmt.Sprintf("{\"n\":%d}\r\n\n", i)
		rows += fmt.Sprintf("%d,\"a\nb\"\n", i)
		values = append(values, fmt.Sprint(i))
	}
	for name, tree := range map[string]map[string]string{
		"text": {
			"a.jsonl": jsonLines, "b.csv": rows, "c.jsonl.gz": gzipped(t, jsonLines, jsonLines), "d.csv.zst": zstandard(t, rows),
		},
		"Parquet": {"a.parquet": parquetFile(t, integer, values...), "b.parquet": parquetFile(t, integer, values...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := resolve(t, write(t, tree), ".")
			all := read(t, files, jobs.Position{}, 0)
			if len(all) < 80 {
				t.Fatalf("%d records, want more", len(all))
			}
			for i, record := range all {
				if record.Number != int64(i) || record.Problem != "" {
					t.Fatalf("record %d has number %d and problem %q", i, record.Number, record.Problem)
				}
				if diff := cmp.Diff(all[i:], read(t, files, record.Position, record.Number)); diff != "" {
					t.Fatalf("from %+v (-want +got):\n%s", record.Position, diff)
				}
			}
			if rest := read(t, files, jobs.Position{File: len(files)}, 0); rest != nil {
				t.Errorf("%d records behind the last file", len(rest))
			}
		})
	}
}

// A compressed file cut at any byte gives an error that names it, never fewer records and a good end.
func TestCutCompression(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "{\"n\":%d}\n", i*i*i)
	}
	for name, whole := range map[string]string{"a.jsonl.gz": gzipped(t, text.String()), "a.jsonl.zst": zstandard(t, text.String())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for cut := range len(whole) {
				dir := write(t, map[string]string{name: whole[:cut]})
				err := readError(dir, name)
				if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
					t.Fatalf("cut at byte %d of %d: error %v, want one that names the file", cut, len(whole), err)
				}
			}
		})
	}
}

// readError returns the error that ends resolving and reading, nil for a good end.
func readError(dir, input string) error {
	files, err := Resolve(dir, []string{input})
	if err != nil {
		return err
	}
	r, err := files.Open(jobs.Position{}, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	for err == nil {
		_, err = r.Next()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	if _, again := r.Next(); again == nil || errors.Is(again, io.EOF) {
		return fmt.Errorf("after the error %w reading went on", err)
	}
	return err
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text, want string
	}{
		{"damaged.jsonl.gz", gzipped(t, "{}\n")[:12] + "\xff\xff\xff\xff", "read DIR/damaged.jsonl.gz: "},
		{"garbage.jsonl.gz", gzipped(t, "{}\n") + "garbage at the end", "read DIR/garbage.jsonl.gz: "},
		{"twice.csv", "a,b,a\n", `read DIR/twice.csv: header: columns 1 and 3 are both named "a"; rename one`},
		{"empty.csv", "a,\n", `read DIR/empty.csv: header: column 2 has no name; give it one`},
		{"damaged.parquet", "PAR1 no more", "DIR/damaged.parquet"},
		// A frame that asks for a window of 2 GiB (RFC 8878 section 3.1.1.1.2): exponent 21, mantissa 0.
		{"window.jsonl.zst", "\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", "read DIR/window.jsonl.zst: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{test.name: test.text})
			err := readError(dir, test.name)
			if want := strings.ReplaceAll(test.want, "DIR", dir); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"a.jsonl": "{}\n", "b.jsonl.gz": gzipped(t, "{}\n"), "c.csv": "a\n1\n"})
	files := resolve(t, dir, "a.jsonl", "b.jsonl.gz", "c.csv")
	for name, at := range map[string]jobs.Position{
		"no such file":            {File: 4},
		"negative file":           {File: -1},
		"row without offset":      {File: 0, Row: 1},
		"behind the end":          {File: 0, Row: 9, Offset: 99},
		"behind the end, gzip":    {File: 1, Row: 9, Offset: 99},
		"behind the end, CSV":     {File: 2, Row: 9, Offset: 99},
		"inside the header":       {File: 2, Row: 1, Offset: 1},
		"CSV, row without offset": {File: 2, Row: 1},
	} {
		r, err := files.Open(at, 0)
		if err == nil {
			r.Close()
			t.Errorf("%s: position %+v was accepted", name, at)
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("%s: error %v would pass for the end of the input", name, err)
		}
	}
	if err := os.Remove(files[2].Path); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Open(jobs.Position{File: 2}, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a file that went away, want not-exist", err)
	}
	r, err := files.Open(jobs.Position{File: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v at the file that went away, want not-exist", err)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	text := jobs.Column{Name: "n", Type: jobs.Type{Kind: jobs.KindString}}
	other := jobs.Column{Name: "m", Type: jobs.Type{Kind: jobs.KindInteger}}
	narrow := jobs.Column{Name: "n", Type: jobs.Type{Kind: jobs.KindInteger, Bits: 32}}
	dir := write(t, map[string]string{
		"1.parquet": parquetFile(t, integer, "1", "2"), "2.parquet": parquetFile(t, integer, "3"),
		"text.parquet": parquetFile(t, text, `"x"`), "other.parquet": parquetFile(t, other, "1"),
		"narrow.parquet": parquetFile(t, narrow, "1"), "a.jsonl": "",
	})
	for _, test := range []struct {
		name  string
		files []string
		rows  int64
		want  string
	}{
		{"alike", []string{"1.parquet", "2.parquet"}, 3, ""},
		{"other type", []string{"1.parquet", "text.parquet"}, 0, `column "n" is of type integer in the first and string in the second`},
		{"other name", []string{"1.parquet", "other.parquet"}, 0, `column 1 is "n" in the first and "m" in the second`},
		{"other width", []string{"1.parquet", "narrow.parquet"}, 0, `column "n" is of type integer in both, but not of the same width`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			schema, rows, typed, err := resolve(t, dir, test.files...).Schema()
			if test.want == "" {
				if err != nil || !typed || rows != test.rows || len(schema) != 1 || schema[0].Name != "n" {
					t.Errorf("schema %v of %d rows, typed %t, error %v; want column n of %d rows", schema, rows, typed, err, test.rows)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			for _, name := range test.files {
				if !strings.Contains(err.Error(), filepath.Join(dir, name)) {
					t.Errorf("error %v does not name %s", err, name)
				}
			}
		})
	}
	if schema, rows, typed, err := resolve(t, dir, "a.jsonl").Schema(); schema != nil || rows != 0 || typed || err != nil {
		t.Errorf("text has schema %v, %d rows, typed %t, error %v; want none", schema, rows, typed, err)
	}
}

// The columns of tables are known from their headers, without a row.
func TestHeader(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"1.csv": "id,text\n", "2.tsv": "text\tnote\n1\t2\n", "3.csv": "", "4.jsonl": `{"other":1}`, "5.csv.gz": gzipped(t, "\"a,b\",id\n"),
	})
	files, err := Resolve(dir, []string{"1.csv", "2.tsv", "3.csv", "4.jsonl", "5.csv.gz"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := files.Header()
	if diff := cmp.Diff([]string{"id", "text", "note", "a,b"}, got); err != nil || diff != "" {
		t.Errorf("error %v, columns (-want +got):\n%s", err, diff)
	}
}

func TestDiffer(t *testing.T) {
	t.Parallel()
	one, two := jobs.Schema{integer}, jobs.Schema{integer, {Name: "x"}}
	for _, test := range []struct {
		name string
		a, b jobs.Schema
		want string
	}{
		{"same", two, two, ""},
		{"more in the first", two, one, `column "x" is only in the first`},
		{"more in the second", one, two, `column "x" is only in the second`},
	} {
		if got := differ(test.a, test.b); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func ExampleResolve() {
	dir, err := os.MkdirTemp("", "source")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"1.jsonl": "{\"id\":\"a\"}\n", "2.csv": "id\nb\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			fmt.Println(err)
			return
		}
	}
	files, err := Resolve(dir, []string{"2.*", "*.jsonl"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := files.Open(jobs.Position{}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for {
		record, err := r.Next()
		if err != nil {
			break
		}
		id, _ := record.Get("id")
		fmt.Printf("%d %s %s\n", record.Number, files[record.Position.File].Format, id)
	}
	// Output:
	// 0 csv "b"
	// 1 jsonl "a"
}
