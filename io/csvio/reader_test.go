package csvio

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
)

func open(t *testing.T, input string, at jobs.Position) *Reader {
	t.Helper()
	r, err := newReader(strings.NewReader(input), ',', at, 64, 8)
	if err != nil {
		t.Fatal(err)
	}
	return r
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

// show writes records as "row@offset:line name=value …" or "row@offset:line !problem".
func show(records []jobs.Record) []string {
	var shown []string
	for _, record := range records {
		p := record.Position
		text := fmt.Sprintf("%d@%d:%d", p.Row, p.Offset, p.Line)
		for _, field := range record.Fields {
			text += fmt.Sprintf(" %s=%s", field.Name, field.Value)
		}
		if record.Problem != "" {
			text += " !" + record.Problem
		}
		shown = append(shown, text)
	}
	return shown
}

func TestReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 62)
	for _, test := range []struct {
		name  string
		input string
		want  []string
	}{
		{"no bytes", "", nil},
		{"byte order mark alone", "\ufeff", nil},
		{"header alone", "a,b\n", nil},
		{"header without line break", "a,b", nil},
		{"two rows", "a,b\n1,x\n2,y\n", []string{`0@4:2 a="1" b="x"`, `1@8:3 a="2" b="y"`}},
		{"no last line break", "a,b\n1,x", []string{`0@4:2 a="1" b="x"`}},
		{"CRLF", "a,b\r\n1,x\r\n2,y\r\n", []string{`0@5:2 a="1" b="x"`, `1@10:3 a="2" b="y"`}},
		{"carriage return at the end", "a\n1\r", []string{`0@2:2 a="1"`}},
		{"byte order mark", "\ufeffa\n1\n", []string{`0@5:2 a="1"`}},
		{"byte order mark before quotes", "\ufeff\"a\"\n1\n", []string{`0@7:2 a="1"`}},
		{"empty lines are skipped and counted", "\n\na,b\n\r\n1,x\n\n\n2,y\n\n", []string{`0@8:5 a="1" b="x"`, `1@14:8 a="2" b="y"`}},
		{"empty fields are empty strings", "a,b,c\n,,\n\"\",x,\"\"\n", []string{`0@6:2 a="" b="" c=""`, `1@9:3 a="" b="x" c=""`}},
		{"spaces are kept", "a,b\n 1 , \n", []string{`0@4:2 a=" 1 " b=" "`}},
		{"quoted comma", "a,b\n\"1,2\",x\n", []string{`0@4:2 a="1,2" b="x"`}},
		{"doubled quotes", "a,b\n\"say \"\"hi\"\"\",\"\"\"\"\n", []string{`0@4:2 a="say \"hi\"" b="\""`}},
		{"quoted line breaks", "a,b\n\"1\n2\r\n3\",x\n4,y\n", []string{`0@4:2 a="1\n2\r\n3" b="x"`, `1@15:5 a="4" b="y"`}},
		{"quoted header", "\"a,1\",\"b\n2\"\nx,y\n", []string{"0@12:3 a,1=\"x\" b\n2=\"y\""}},
		{"quoted row at the end", "a,b\n1,\"x\"", []string{`0@4:2 a="1" b="x"`}},
		{"no HTML escapes", "a\n<&>\u2028é\n", []string{"0@2:2 a=\"<&>\u2028é\""}},
		{"too few fields", "a,b\n1\n2,y\n", []string{`0@4:2 !1 fields where the header has 2`, `1@6:3 a="2" b="y"`}},
		{"too many fields", "a,b\n1,2,3\n2,y\n", []string{`0@4:2 !3 fields where the header has 2`, `1@10:3 a="2" b="y"`}},
		{"invalid UTF-8", "a,b\n1,\xff\n2,y\n", []string{`0@4:2 !invalid UTF-8 at byte 3`, `1@8:3 a="2" b="y"`}},
		{"invalid UTF-8 on a later line of a row", "a,b\n\"é\n\",\xe2\x82\n2,y\n", []string{
			`0@4:2 !invalid UTF-8 at byte 7`, `1@13:4 a="2" b="y"`,
		}},
		{"NUL", "a,b\n1,\x00\n2,y\n", []string{`0@4:2 !NUL at byte 3`, `1@8:3 a="2" b="y"`}},
		{"quote inside a bare field", "a,b\n5\" pipe,x\n2,y\n", []string{
			`0@4:2 !a quote in a field without quotes around it at byte 2`, `1@14:3 a="2" b="y"`,
		}},
		{"text after a closing quote", "a,b\n\"1\"2,x\n2,y\n", []string{
			`0@4:2 !text after a closing quote at byte 4`, `1@11:3 a="2" b="y"`,
		}},
		{"carriage return after a closing quote", "a,b\n\"1\"\r,x\n2,y\n", []string{
			`0@4:2 !text after a closing quote at byte 4`, `1@11:3 a="2" b="y"`,
		}},
		{"a quote never closed costs one line", "a,b\n1,\"x\n2,y\n3,z\n", []string{
			`0@4:2 !a quote that is not closed at byte 3`, `1@9:3 a="2" b="y"`, `2@13:4 a="3" b="z"`,
		}},
		{"a quote closed by a later row's costs no row between", "a,b\n1,\"x\n2,y\n3,\"z\n4,w\n", []string{
			`0@4:2 !text after a closing quote at byte 13`, `1@9:3 a="2" b="y"`,
			`2@13:4 !a quote that is not closed at byte 3`, `3@18:5 a="4" b="w"`,
		}},
		{"a quote not closed within the limit costs one line", "a,b\n1,\"x\n" + strings.Repeat("2,y\n", 20), append(
			[]string{`0@4:2 !a quote that is not closed at byte 3`}, numbered(20, 1, 9, 3)...,
		)},
		{"exactly the limit", "a,b\n1," + long + "\r\n2,y\n", []string{`0@4:2 a="1" b="` + long + `"`, `1@70:3 a="2" b="y"`}},
		{"over the limit by one", "a,b\n1," + long + "x\r\n2,y\n", []string{`0@4:2 !row longer than 64 bytes`, `1@71:3 a="2" b="y"`}},
		{"over the limit by far", "a,b\n1," + strings.Repeat("x", 500) + "\n2,y\n", []string{
			`0@4:2 !row longer than 64 bytes`, `1@507:3 a="2" b="y"`,
		}},
		{"over the limit at the end", "a\n" + strings.Repeat("x", 500), []string{`0@2:2 !row longer than 64 bytes`}},
		{"quoted row of exactly the limit", "a\n\"" + strings.Repeat("\n", 62) + "\"\n2\n", []string{
			`0@2:2 a="` + strings.Repeat(`\n`, 62) + `"`, `1@67:65 a="2"`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, show(readAll(t, open(t, test.input, jobs.Position{})))); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			slow, err := newReader(iotest.OneByteReader(strings.NewReader(test.input)), ',', jobs.Position{}, 64, 1)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, show(readAll(t, slow))); diff != "" {
				t.Errorf("records read byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

// numbered shows n records of the row "2,y".
func numbered(n, row, offset, line int) []string {
	var shown []string
	for i := range n {
		shown = append(shown, fmt.Sprintf(`%d@%d:%d a="2" b="y"`, row+i, offset+4*i, line+i))
	}
	return shown
}

func TestTabs(t *testing.T) {
	t.Parallel()
	r, err := NewReader(strings.NewReader("a\tb\n1,2\t\"x\ty\"\n"), '\t', jobs.Position{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`0@4:2 a="1,2" b="x\ty"`}, show(readAll(t, r))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestHeaderRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		input string
		want  string
	}{
		{"a name twice", "id,text,id\n", `header: columns 1 and 3 are both named "id"; rename one`},
		{"no name", "id,,text\n", `header: column 2 has no name; give it one`},
		{"blank name", "id, \n", `header: column 2 has no name; give it one`},
		{"comma at the end", "id,text,\n", `header: column 3 has no name; give it one`},
		{"open quote", "id,\"text\n1,2\n", `header: a quote that is not closed at byte 4`},
		{"not UTF-8", "id,t\xe4xt\n", `header: invalid UTF-8 at byte 5`},
		{"UTF-16", "\xff\xfei\x00d\x00\n\x00", `header: NUL at byte 4`},
		{"too long", strings.Repeat("x", 65), `header: row longer than 64 bytes`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := newReader(strings.NewReader(test.input), ',', jobs.Position{}, 64, 8)
			if err == nil || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

// Reading goes on at any position given earlier, whether or not the input can seek.
func TestResume(t *testing.T) {
	t.Parallel()
	input := "\ufeffa,b\n\n\"1\n\",x\n5\" pipe,x\n3\n4," + strings.Repeat("z", 100) + "\n\n6,y"
	all := readAll(t, open(t, input, jobs.Position{File: 7}))
	if len(all) != 5 {
		t.Fatalf("%d records, want 5: %v", len(all), show(all))
	}
	for i, record := range all {
		if record.Position.File != 7 {
			t.Errorf("record %d is in file %d, want 7", i, record.Position.File)
		}
		for name, in := range map[string]io.Reader{
			"seeking": strings.NewReader(input),
			"reading": io.MultiReader(strings.NewReader(input)),
		} {
			r, err := newReader(in, ',', record.Position, 64, 8)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all[i:], readAll(t, r)); diff != "" {
				t.Errorf("%s from record %d on (-want +got):\n%s", name, i, diff)
			}
		}
	}
}

func TestResumeRefused(t *testing.T) {
	t.Parallel()
	if _, err := NewReader(strings.NewReader("a,b\n1,2\n"), ',', jobs.Position{Offset: 2}); err == nil {
		t.Error("a position inside the header was accepted")
	}
	_, err := NewReader(io.MultiReader(strings.NewReader("a,b\n1,2\n")), ',', jobs.Position{Offset: 200})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v for a position behind the end, want unexpected EOF", err)
	}
}

// A reader that breaks off must not pass the cut row on as a record, and stays broken.
func TestReadError(t *testing.T) {
	t.Parallel()
	broken := io.MultiReader(strings.NewReader("a\n1\n2"), iotest.ErrReader(io.ErrUnexpectedEOF))
	r, err := NewReader(broken, ',', jobs.Position{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := r.Next()
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "read line 3") {
			t.Errorf("error %v, want one that wraps unexpected EOF and names line 3", err)
		}
	}
	_, err = NewReader(iotest.ErrReader(io.ErrUnexpectedEOF), ',', jobs.Position{})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v at the header, want unexpected EOF", err)
	}
}

func TestRecordsStayValid(t *testing.T) {
	t.Parallel()
	r := open(t, "a,b\n\"q\"\"q\",first\n\"r\"\"r\",other\n", jobs.Position{})
	first, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if got := string(append(first.Fields[0].Value, "overwritten?"...)); !strings.HasSuffix(got, "?") {
		t.Fatalf("append made %s", got)
	}
	if got := show([]jobs.Record{first})[0]; got != `0@4:2 a="q\"q" b="first"` {
		t.Errorf("the first record became %s", got)
	}
}

// A row without end costs memory of about the limit, not of its length.
func TestMemoryIsBounded(t *testing.T) {
	for name, line := range map[string]string{"one line": "xxxxxxxx", "open quote": "xxxxxxx\n"} {
		endless := io.MultiReader(strings.NewReader("a\n\"x\n\""), io.LimitReader(repeated(line), 8*maxRow))
		r, err := NewReader(endless, ',', jobs.Position{})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 2 {
			record, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if record.Problem == "" {
				t.Errorf("%s: record %v has no problem", name, record.Position)
			}
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 5*maxRow {
			t.Errorf("%s: allocated %d MiB for %d MiB", name, allocated>>20, 8*maxRow>>20)
		}
	}
}

type repeated string

func (s repeated) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], s)
	}
	return len(p), nil
}

func ExampleReader() {
	input := strings.NewReader("id,text\nr-1,\"good, cheap\"\nr-2\n")
	r, err := NewReader(input, ',', jobs.Position{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		record, err := r.Next()
		if err != nil {
			break
		}
		text, _ := record.Get("text")
		fmt.Printf("line %d: %s%s\n", record.Position.Line, text, record.Problem)
	}
	// Output:
	// line 2: "good, cheap"
	// line 3: 1 fields where the header has 2
}
