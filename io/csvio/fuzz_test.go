package csvio

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
)

// Every line is part of a record, of the header, or empty; reading from the position of any record gives that
// record and all after it again; and where the standard library finds no error, it finds the same fields.
func FuzzReader(f *testing.F) {
	f.Add("a,b\n1,\"x\r\n\"\"y\"\"\"\n2\n\"3,\n4,\"z\n")
	f.Add("\ufeffa\n\n\xff\n\"" + strings.Repeat("x\n", 40) + "\"\n5\"\r")
	f.Fuzz(func(t *testing.T, input string) {
		if len(input) > 1<<12 {
			t.Skip("reading from every record takes time in the square of the length")
		}
		r, err := newReader(strings.NewReader(input), ',', jobs.Position{}, 64, 8)
		if err != nil {
			return
		}
		covered := r.next.Offset
		all := readAll(t, r)
		for i, record := range all {
			p := record.Position
			if p.Row != int64(i) {
				t.Fatalf("record %d has row %d", i, p.Row)
			}
			if strings.Trim(input[covered:p.Offset], "\r\n") != "" {
				t.Fatalf("text before record %d is in no record", i)
			}
			if line := int64(1 + strings.Count(input[:p.Offset], "\n")); p.Line != line {
				t.Fatalf("record %d is on line %d, want %d", i, p.Line, line)
			}
			again := open(t, input, p)
			if diff := cmp.Diff(all[i:], readAll(t, again)); diff != "" {
				t.Fatalf("read from record %d on (-want +got):\n%s", i, diff)
			}
			one := open(t, input, p)
			if _, err := one.Next(); err != nil {
				t.Fatal(err)
			}
			covered = one.next.Offset
		}
		if strings.Trim(input[covered:], "\r\n") != "" {
			t.Fatal("text after the last record is in no record")
		}
		compareWithStandard(t, input, all)
	})
}

// compareWithStandard holds the records against encoding/csv, which normalises line breaks inside quotes and drops
// one carriage return more.
func compareWithStandard(t *testing.T, input string, all []jobs.Record) {
	t.Helper()
	if strings.ContainsRune(input, '\r') {
		return
	}
	for _, record := range all {
		if record.Problem != "" {
			return
		}
	}
	standard := csv.NewReader(bytes.NewReader(bytes.TrimPrefix([]byte(input), byteOrderMark)))
	rows, err := standard.ReadAll()
	if err != nil {
		t.Fatalf("no record has a problem, but encoding/csv finds one: %v", err)
	}
	for i, record := range all {
		for j, field := range record.Fields {
			var text string
			if err := json.Unmarshal(field.Value, &text); err != nil {
				t.Fatal(err)
			}
			if want := rows[i+1][j]; text != want || field.Name != rows[0][j] {
				t.Fatalf("record %d field %d is %q, want %q", i, j, text, want)
			}
		}
	}
}

func BenchmarkReader(b *testing.B) {
	row := `r-000001,Card not arrived,"` + strings.Repeat("lorem, ipsum ", 11) + "\",4,true\n"
	input := "id,subject,body,stars,paid\n" + strings.Repeat(row, 1000)
	b.SetBytes(int64(len(input)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(strings.NewReader(input), ',', jobs.Position{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "records/s")
}
