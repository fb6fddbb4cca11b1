package coordinator_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/worker/simulator"
)

// dataset copies one of the public datasets into the rig's folder. Where BATCHWRIGHT_TEST_DATA names no folder that
// holds them the test is skipped.
func (r *rig) dataset(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(os.Getenv("BATCHWRIGHT_TEST_DATA"), name))
	if err != nil {
		r.t.Skip("BATCHWRIGHT_TEST_DATA names no folder with banking77 and gsm8k")
	}
	r.write(name, string(content))
	return string(content)
}

// Banking77, whole: 3,080 real questions, each given one of the 77 labels.
func TestBanking77(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	n := strings.Count(r.dataset("banking77.jsonl"), "\n")
	var labels []string
	if err := json.Unmarshal([]byte(r.dataset("banking77-categories.json")), &labels); err != nil {
		t.Fatal(err)
	}
	enum, err := json.Marshal(labels)
	if err != nil {
		t.Fatal(err)
	}
	r.write("job.yaml", fmt.Sprintf(`
input: banking77.jsonl
output: out.jsonl
request:
  model: claude-haiku-4-5-20251001
  max_tokens: 100
  messages: [{role: user, content: "{{.text}}"}]
answer: {label: %s}
`, enum))
	outcome := r.complete()
	if outcome.Tally.Succeeded != int64(n) {
		t.Fatalf("%d of %d succeeded: %v", outcome.Tally.Succeeded, n, outcome.Tally.Failed)
	}
	input, output := strings.Split(r.read("banking77.jsonl"), "\n"), strings.Split(r.read("out.jsonl"), "\n")
	for i := range n {
		for _, column := range []string{"id", "text", "category"} {
			if in, out := gjson.Get(input[i], column).Raw, gjson.Get(output[i], column).Raw; in != out {
				t.Fatalf("row %d: %s is %s, was %s", i, column, out, in)
			}
		}
		if label := gjson.Get(output[i], "label").Str; !slices.Contains(labels, label) {
			t.Fatalf("row %d: label %q", i, label)
		}
	}
}

// GSM8K, whole, to Parquet: 1,319 problems with quotes, dollars, line breaks and non-ASCII text.
func TestGSM8K(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	n := strings.Count(r.dataset("gsm8k.jsonl"), "\n")
	r.write("job.yaml", `
input: gsm8k.jsonl
output: out.parquet
request:
  model: claude-haiku-4-5-20251001
  max_tokens: 500
  messages: [{role: user, content: "{{.question}}"}]
`)
	r.complete()
	reader, err := parquetio.Open(filepath.Join(r.dir, "out.parquet"), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for i, line := range strings.Split(strings.TrimSpace(r.read("gsm8k.jsonl")), "\n") {
		record, err := reader.Next()
		if err != nil {
			t.Fatalf("row %d of %d: %v", i, n, err)
		}
		for _, column := range []string{"id", "question", "answer"} {
			value, _ := record.Get(column)
			if in, out := gjson.Get(line, column).Str, gjson.ParseBytes(value).Str; in != out {
				t.Fatalf("row %d: %s is %q, was %q", i, column, out, in)
			}
		}
	}
}
