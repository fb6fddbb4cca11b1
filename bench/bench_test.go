package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/worker/simulator"
)

// The bare loop answers each record once; without that its speed means nothing.
func TestBareLoop(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(simulator.New(simulator.Options{}))
	defer server.Close()
	input := filepath.Join(t.TempDir(), inputName)
	if err := writeInput(input, 500); err != nil {
		t.Fatal(err)
	}
	var sums []answers
	for range 2 {
		output := filepath.Join(t.TempDir(), outputName)
		if err := bareLoop(t.Context(), input, output, server.URL); err != nil {
			t.Fatal(err)
		}
		sum, err := readAnswers(output)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	if sums[0].count != 500 {
		t.Errorf("%d answers to 500 records", sums[0].count)
	}
	if sums[0] != sums[1] {
		t.Errorf("the same input gave %s and %s", sums[0], sums[1])
	}
}

func TestBareLoopReportsRefusedCalls(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	input := filepath.Join(t.TempDir(), inputName)
	if err := writeInput(input, 3); err != nil {
		t.Fatal(err)
	}
	if err := bareLoop(t.Context(), input, filepath.Join(t.TempDir(), outputName), server.URL); err == nil {
		t.Error("404 for every call, and no error")
	}
}

func TestWriteInput(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), inputName)
	if err := writeInput(path, 100); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if len(line) != recordBytes {
			t.Errorf("a line has %d bytes: %s", len(line), line)
		}
		seen[line] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different lines of 100", len(seen))
	}
}

func TestReadAnswers(t *testing.T) {
	t.Parallel()
	read := func(t *testing.T, lines ...string) (answers, error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), outputName)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return readAnswers(path)
	}
	want, err := read(t, `{"id":"a","response":"one"}`, `{"id":"b","response":"two"}`)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		lines []string
		equal bool
	}{
		{"another order and more columns", []string{`{"id":"b","response":"two","_cost_usd":1}`, `{"id":"a","response":"\u006fne"}`}, true},
		{"answers exchanged", []string{`{"id":"a","response":"two"}`, `{"id":"b","response":"one"}`}, false},
		{"one missing", []string{`{"id":"a","response":"one"}`}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, test.lines...)
			if err != nil {
				t.Fatal(err)
			}
			if (got == want) != test.equal {
				t.Errorf("%s beside %s", got, want)
			}
		})
	}
	if _, err := read(t, `{"id":"a","response":null,"_status":"failed"}`); err == nil {
		t.Error("a record without a response passes as an answer")
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.values, got, test.want)
		}
	}
}

// The table shows a missed goal as such.
func TestWriteTable(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	err := writeTable(&got, "a machine", []figure{
		{measure: "speed", value: "0.60", goal: "≥ 0.55", met: true},
		{measure: "memory", value: "190 MB", goal: "≤ 150 MB"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `a machine

| measure | figure | goal | |
|---|---|---|---|
| speed | 0.60 | ≥ 0.55 | met |
| memory | 190 MB | ≤ 150 MB | **missed** |
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
