package jsonl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
)

// rows shows records as "row@offset:line fields" or "row@offset:line !problem".
func rows(t *testing.T, r jobs.Reader) []string {
	t.Helper()
	var shown []string
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return shown
		}
		if err != nil {
			t.Fatal(err)
		}
		p := record.Position
		text := string(AppendObject(nil, record.Fields))
		if record.Problem != "" {
			text = "!" + record.Problem
		}
		shown = append(shown, fmt.Sprintf("%d@%d:%d %s", p.Row, p.Offset, p.Line, text))
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		input string
		want  []string
	}{
		{"no bytes", "", nil},
		{"only blank lines", "\n \t\r\n\n", nil},
		{"two lines", "{\"a\":1}\n{\"a\":2}\n", []string{`0@0:1 {"a":1}`, `1@8:2 {"a":2}`}},
		{"no last line break", "{\"a\":1}\n{\"a\":2}", []string{`0@0:1 {"a":1}`, `1@8:2 {"a":2}`}},
		{"CRLF", "{\"a\":1}\r\n{\"a\":2}\r\n", []string{`0@0:1 {"a":1}`, `1@9:2 {"a":2}`}},
		{"blank lines count as lines, not as rows", "\n{\"a\":1}\n\r\n  \n{\"a\":2}\n\n", []string{`0@1:2 {"a":1}`, `1@14:5 {"a":2}`}},
		{"byte order mark", "\ufeff{\"a\":1}\n{\"a\":2}\n", []string{`0@0:1 {"a":1}`, `1@11:2 {"a":2}`}},
		{"byte order mark and nothing else", "\ufeff", nil},
		{"byte order mark counts in the place of a flaw", "\ufeff{\"a\":\xff}\n", []string{`0@0:1 !invalid UTF-8 at byte 9`}},
		{"byte order mark on a later line is text", "{}\n\ufeff{}\n", []string{`0@0:1 {}`, `1@3:2 !invalid JSON at byte 1`}},
		{"broken lines keep their place", "{\n{\"a\":1}\nnull\n", []string{
			`0@0:1 !cut off: the line ends before the JSON does`, `1@2:2 {"a":1}`, `2@10:3 !not a JSON object but null`,
		}},
		{"longer than the buffer", "{\"a\":\"" + strings.Repeat("x", 40) + "\"}\n{}", []string{`0@0:1 {"a":"` + strings.Repeat("x", 40) + `"}`, `1@49:2 {}`}},
		{"exactly the limit", strings.Repeat(" ", 62) + "{}\n{}", []string{`0@0:1 {}`, `1@65:2 {}`}},
		{"over the limit by one", strings.Repeat(" ", 63) + "{}\n{}", []string{`0@0:1 !line longer than 64 bytes`, `1@66:2 {}`}},
		{"over the limit by far", strings.Repeat("x", 1000) + "\n{}", []string{`0@0:1 !line longer than 64 bytes`, `1@1001:2 {}`}},
		{"over the limit at the end", "{}\n" + strings.Repeat("x", 100), []string{`0@0:1 {}`, `1@3:2 !line longer than 64 bytes`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := rows(t, newReader(strings.NewReader(test.input), jobs.Position{}, 64, 16))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			slow := rows(t, newReader(iotest.OneByteReader(strings.NewReader(test.input)), jobs.Position{}, 64, 16))
			if diff := cmp.Diff(test.want, slow); diff != "" {
				t.Errorf("records read byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReaderPassesFileOn(t *testing.T) {
	t.Parallel()
	record, err := NewReader(strings.NewReader("{}"), jobs.Position{File: 3}).Next()
	if err != nil {
		t.Fatal(err)
	}
	if want := (jobs.Position{File: 3, Line: 1}); record.Position != want {
		t.Errorf("position %+v, want %+v", record.Position, want)
	}
}

func TestReaderKeepsRecordsValid(t *testing.T) {
	t.Parallel()
	r := newReader(strings.NewReader("{\"a\":\"first\"}\n{\"b\":\"other\"}\n"), jobs.Position{}, 64, 16)
	first, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if got := string(AppendObject(nil, first.Fields)); got != `{"a":"first"}` {
		t.Errorf("the first record became %s", got)
	}
}

// A reader that breaks off must not pass the cut line on as a record, and stays broken.
func TestReaderReadError(t *testing.T) {
	t.Parallel()
	r := NewReader(io.MultiReader(strings.NewReader("{}\n{\"a\":1}"), iotest.ErrReader(io.ErrUnexpectedEOF)), jobs.Position{})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := r.Next()
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "read line 2") {
			t.Errorf("error %v, want one that wraps unexpected EOF and names line 2", err)
		}
	}
}

// A line without end costs memory of about the limit, not of its length.
func TestReaderBoundsMemory(t *testing.T) {
	endless := io.LimitReader(repeated('x'), 8*maxLine)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	record, err := NewReader(endless, jobs.Position{}).Next()
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if want := "line longer than 33554432 bytes"; record.Problem != want {
		t.Errorf("problem %q, want %q", record.Problem, want)
	}
	// Growing a slice to the limit by appending allocates a few times the limit over all, garbage included.
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 7*maxLine {
		t.Errorf("allocated %d MiB for a line of %d MiB", allocated>>20, 8*maxLine>>20)
	}
}

type repeated byte

func (c repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

func TestReaderRealData(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"banking77.jsonl": 3080, "gsm8k.jsonl": 1319} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(os.Getenv("BATCHWRIGHT_TEST_DATA"), name))
			if errors.Is(err, os.ErrNotExist) {
				t.Skip("BATCHWRIGHT_TEST_DATA names no folder with banking77 and gsm8k")
			}
			if err != nil {
				t.Fatal(err)
			}
			got := rows(t, NewReader(strings.NewReader(string(text)), jobs.Position{}))
			if len(got) != want || strings.Contains(strings.Join(got, "\n"), " !") {
				t.Errorf("%d records, want %d without a problem", len(got), want)
			}
		})
	}
}

func ExampleReader() {
	input := strings.NewReader("{\"id\": \"r-1\"}\n\n{id: 2}\n")
	r := NewReader(input, jobs.Position{})
	for {
		record, err := r.Next()
		if err != nil {
			break
		}
		fmt.Printf("line %d: %d fields %q\n", record.Position.Line, len(record.Fields), record.Problem)
	}
	// Output:
	// line 1: 1 fields ""
	// line 3: 0 fields "invalid JSON at byte 2"
}

// Every line that is not blank is one record, whatever it holds, and reading from the position of any record
// gives that record and all after it again.
func FuzzReader(f *testing.F) {
	f.Add("{\"a\":1}\r\n\n{\"b\":[\"\\ud800\"]}\n\xff")
	f.Add("\ufeff{}\n" + strings.Repeat(" ", 70) + "\n{\"a\":{\"a\":\"\x00\"}}")
	f.Fuzz(func(t *testing.T, input string) {
		if len(input) > 1<<12 {
			t.Skip("reading from every record takes time in the square of the length")
		}
		all := readAll(t, newReader(strings.NewReader(input), jobs.Position{}, 64, 16))
		lines := int64(0)
		for line := range strings.Lines(strings.TrimPrefix(input, "\ufeff")) {
			if len(line) > 64 || !isBlank([]byte(line)) {
				lines++
			}
		}
		// At the limit exactly, whether a blank line is too long depends on its line break and the mark before it.
		if int64(len(all)) > lines || len(input) < 64 && int64(len(all)) != lines {
			t.Fatalf("%d records of %d lines", len(all), lines)
		}
		for i, record := range all {
			if record.Position.Row != int64(i) {
				t.Fatalf("record %d has row %d", i, record.Position.Row)
			}
			if (record.Fields == nil) == (record.Problem == "") {
				t.Fatalf("record %d has fields %v and problem %q", i, record.Fields, record.Problem)
			}
			rest := readAll(t, newReader(strings.NewReader(input[record.Position.Offset:]), record.Position, 64, 16))
			if diff := cmp.Diff(all[i:], rest); diff != "" {
				t.Fatalf("read from record %d on (-want +got):\n%s", i, diff)
			}
		}
	})
}

func readAll(t *testing.T, r jobs.Reader) []jobs.Record {
	t.Helper()
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

// FuzzParseObject holds that what is read can be written and read again, on one line, with the same members.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"\ud83d\ude00"}],"\u0061b": null}`))
	f.Add([]byte("{\"a\":\n1}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		members, err := ParseObject(line)
		if err != nil {
			return
		}
		written := AppendObject(nil, members)
		if strings.ContainsAny(string(written), "\r\n") {
			t.Fatalf("%q spans lines", written)
		}
		again, err := ParseObject(written)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) != len(members) {
			t.Fatalf("%d members became %d", len(members), len(again))
		}
		for i := range members {
			value := strings.NewReplacer("\n", " ", "\r", " ").Replace(string(members[i].Value))
			if members[i].Name != again[i].Name || value != string(again[i].Value) {
				t.Fatalf("member %d became %s: %s", i, again[i].Name, again[i].Value)
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	line := `{"id": "r-000001", "subject": "Card not arrived", "body": "` + strings.Repeat("lorem ipsum ", 9) +
		`", "stars": 4, "paid": true}` + "\n"
	input := strings.Repeat(line, 1000)
	b.SetBytes(int64(len(input)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(strings.NewReader(input), jobs.Position{})
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "records/s")
}
