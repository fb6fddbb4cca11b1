// Package examples_test checks that each example can be run as its page says: the job loads, its data can be read
// whole, and every record makes a request of its own.
package examples_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/jobs"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		vars    map[string]string
		records int
	}{
		{name: "classify", records: 118},
		{name: "evaluate", records: 150},
		{name: "enrich", vars: map[string]string{"date": "2026-11-22"}, records: 120},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			job, err := jobs.Load(filepath.Join(test.name, "job.yaml"), jobs.Options{Vars: test.vars})
			if err != nil {
				t.Fatal(err)
			}
			ids, requests := map[string]bool{}, map[jobs.Digest]bool{}
			records := 0
			for record := range readAll(t, filepath.Join(job.Dir, job.Input[0])) {
				if record.Problem != "" {
					t.Fatalf("record %d: %s", records, record.Problem)
				}
				if records == 0 {
					if err := job.Request.Check(names(record)); err != nil {
						t.Fatal(err)
					}
				}
				id, ok := record.Get(job.ID)
				if !ok || ids[string(id)] {
					t.Errorf("record %d: %s %s is missing or there twice", records, job.ID, id)
				}
				ids[string(id)] = true
				body, err := job.Request.Render(record)
				if err != nil {
					t.Fatalf("record %d: %v", records, err)
				}
				requests[jobs.DigestOf(body)] = true
				records++
			}
			if records != test.records || len(requests) != test.records {
				t.Errorf("%d records make %d different requests, want %d of both", records, len(requests), test.records)
			}
			page, err := os.ReadFile(filepath.Join(test.name, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			for _, said := range []string{job.Output, "examples/" + test.name + "/job.yaml", "--simulate"} {
				if !strings.Contains(string(page), said) {
					t.Errorf("the example's page does not say %q", said)
				}
			}
		})
	}
}

func names(record *jobs.Record) []string {
	columns := make([]string, len(record.Fields))
	for i := range record.Fields {
		columns[i] = record.Fields[i].Name
	}
	return columns
}

// readAll yields the records of a file of JSON lines or a Parquet file.
func readAll(t *testing.T, path string) func(yield func(*jobs.Record) bool) {
	t.Helper()
	return func(yield func(*jobs.Record) bool) {
		reader := open(t, path)
		defer reader.Close()
		for {
			record, err := reader.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !yield(&record) {
				return
			}
		}
	}
}

func open(t *testing.T, path string) jobs.Reader {
	t.Helper()
	if filepath.Ext(path) == ".parquet" {
		reader, err := parquetio.Open(path, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return reader
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return jsonl.NewReader(file, jobs.Position{})
}
