package parquetio

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/jobs"
)

const benchRows = 100_000

func benchSchema() jobs.Schema {
	return jobs.Schema{
		{Name: "id", Type: jobs.Type{Kind: jobs.KindInteger}},
		{Name: "text", Type: jobs.Type{Kind: jobs.KindString}},
		{Name: "score", Type: jobs.Type{Kind: jobs.KindNumber}},
		{Name: "ok", Type: jobs.Type{Kind: jobs.KindBoolean}},
		{Name: "label", Type: jobs.Type{Kind: jobs.KindString}},
	}
}

func benchRow(i int) []jobs.Member {
	return []jobs.Member{
		member("id", strconv.Itoa(i)),
		member("text", `"`+strings.Repeat("some words of a text ", 4)+strconv.Itoa(i)+`"`),
		member("score", strconv.FormatFloat(float64(i)/7, 'f', -1, 64)),
		member("ok", strconv.FormatBool(i%3 == 0)),
		member("label", fmt.Sprintf(`"label %d"`, i%20)),
	}
}

func writeBench(tb testing.TB, w io.Writer, rows [][]jobs.Member) {
	tb.Helper()
	writer, err := NewWriter(w, benchSchema())
	if err != nil {
		tb.Fatal(err)
	}
	for _, row := range rows {
		if err := writer.Write(row); err != nil {
			tb.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		tb.Fatal(err)
	}
}

func benchData() [][]jobs.Member {
	rows := make([][]jobs.Member, benchRows)
	for i := range rows {
		rows[i] = benchRow(i)
	}
	return rows
}

func BenchmarkWrite(b *testing.B) {
	rows := benchData()
	b.ReportAllocs()
	for b.Loop() {
		writeBench(b, io.Discard, rows)
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

func benchFile(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bench.parquet")
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	writeBench(b, file, benchData())
	return path
}

func BenchmarkRead(b *testing.B) {
	path := benchFile(b)
	b.ReportAllocs()
	for b.Loop() {
		if rows, err := readThrough(path, 0); err != nil || rows != benchRows {
			b.Fatal(rows, err)
		}
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkConcat(b *testing.B) {
	path := benchFile(b)
	parts := []string{path, path, path, path}
	b.ReportAllocs()
	for b.Loop() {
		if err := Concat(io.Discard, benchSchema(), parts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*benchRows*float64(len(parts))/b.Elapsed().Seconds(), "rows/s")
}
