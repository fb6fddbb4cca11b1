package coordinator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/sjson"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/io/source"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker/simulator"
)

// rows are those of a file of the output, or its first error.
func (r *rig) rows(name string) ([][]jobs.Member, error) {
	r.t.Helper()
	file, err := source.FileAt(filepath.Join(r.dir, name))
	if err != nil {
		return nil, err
	}
	reader, err := source.Files{file}.Open(jobs.Position{}, 0)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var rows [][]jobs.Member
	for {
		record, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err == nil && record.Problem != "" {
			err = errors.New(record.Problem)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, record.Fields)
	}
}

func (r *rig) mustRows(name string) [][]jobs.Member {
	r.t.Helper()
	rows, err := r.rows(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return rows
}

// rewrite writes rows to a file of the output, with the columns that a Parquet file has there.
func (r *rig) rewrite(name string, rows [][]jobs.Member) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	format, err := sink.FormatOf(path)
	if err != nil {
		r.t.Fatal(err)
	}
	var schema jobs.Schema
	if format.Typed() {
		if schema, _, err = parquetio.ReadSchema(path); err != nil {
			r.t.Fatal(err)
		}
	}
	r.write(name, written(r.t, format, schema, rows))
}

func written(t *testing.T, format sink.Format, schema jobs.Schema, rows [][]jobs.Member) string {
	t.Helper()
	var b strings.Builder
	w, err := sink.NewWriter(&b, format, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (r *rig) verify() *coordinator.Verification {
	r.t.Helper()
	found, err := coordinator.Verify(r.t.Context(), r.state())
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// holdsG1 runs the job to its end and makes sure that its output passes.
func (r *rig) holdsG1(records int64) {
	r.t.Helper()
	r.complete()
	if found := r.verify(); !found.OK() || found.Records != records || found.Succeeded+found.Failed != records {
		r.t.Fatalf("the output of a true run: %+v\n%v", found, found.Problems)
	}
}

// completeInParts runs the job to its end with smaller parts than usual.
func (r *rig) completeInParts(records int) {
	r.t.Helper()
	run, unlock, err := r.prepare()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := run.Close(); err != nil {
		r.t.Fatal(err)
	}
	unlock()
	path := filepath.Join(".batchwright", "job", "manifest.json")
	smaller, err := sjson.Set(r.read(path), "part_records", records)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(path, smaller)
	r.complete()
}

// hardLines are records that are hard to compare: spelled in other ways, nested, null, missing, of mixed types, broken.
const hardLines = `{"id":"r0","text":"plain","n":1,"d":0.1,"o":{"a":1,"b":[1,2]},"m":1}
{"n":1e2,"text":"\u00e9\ud83d\ude00 \/ \u0000","id":"r1","d":0.12345678901234567890123,"o":{"b":[],"a":null},"m":"x"}
{"id":"r2","text":"no more columns"}
{broken
{"id":"r4","text":"null","n":null,"d":null,"o":null,"m":null,"big":123456789012345678901234567890}
{"id":"r4","text":"same id","n":-0,"d":-1.5E+3,"o":{"c":true},"m":[1,{"z":1.0}],"big":1}
{"id":7,"text":"` + "\u2028" + `","deep":{"x":[{"y":[null,{"z":"w"}]},{"y":null},{}]}}
`

const hardCSV = "id,text,n\nr0,plain,1\nr1,\"a \"\"b\"\"\nc\",1.50\nr2,,\nr3,short\nr4,é,007\n"

// The output of every format passes as the run has written it, from every kind of input.
func TestVerifyIntact(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.parquet", "out/", "out.parquet/"} {
		for name, input := range map[string]struct {
			file, content string
			records       int64
		}{
			"hard JSONL": {"in.jsonl", hardLines, 7},
			"CSV":        {"in.csv", hardCSV, 5},
			"nothing":    {"in.jsonl", "\n", 0},
		} {
			t.Run(name+" to "+output, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, simulator.Options{})
				r.write("job.yaml", strings.NewReplacer("in.jsonl", input.file, "out.jsonl", output).Replace(textJob)+
					"columns: {add: {stop: .stop_reason}}\n")
				r.write(input.file, input.content)
				r.holdsG1(input.records)
			})
		}
	}
}

// Rows of Parquet input pass whatever the output, and so do answers with a schema, failures and chosen columns.
func TestVerifyIntactTyped(t *testing.T) {
	t.Parallel()
	schema := jobs.Schema{
		{Name: "id", Type: jobs.Type{Kind: jobs.KindInteger, Bits: 32}},
		{Name: "text", Type: jobs.Type{Kind: jobs.KindString}},
		{Name: "f", Type: jobs.Type{Kind: jobs.KindNumber, Bits: 32}},
		{Name: "price", Type: jobs.Type{Kind: jobs.KindDecimal, Precision: 30, Scale: 3}},
		{Name: "at", Type: jobs.Type{Kind: jobs.KindTimestamp, Unit: "micros", UTC: true}},
		{Name: "raw", Type: jobs.Type{Kind: jobs.KindBinary}},
		{Name: "tags", Type: jobs.Type{Kind: jobs.KindMap, Element: &jobs.Type{Kind: jobs.KindNumber}}},
	}
	var rows [][]jobs.Member
	for i := range 40 {
		row := []jobs.Member{}
		for j, value := range []string{
			fmt.Sprint(i), fmt.Sprintf("%q", fmt.Sprint("question ", i)), []string{"0.1", `"NaN"`, `"-Infinity"`, "null"}[i%4], "1234567890123456789012345.670",
			`"2026-11-22T10:00:00.000001Z"`, `"aGk="`, []string{`{"b":0.1,"a":1}`, `{"b":1,"b":2}`, "{}", "null"}[i%4],
		} {
			row = append(row, jobs.Member{Name: schema[j].Name, Value: json.RawMessage(value)})
		}
		rows = append(rows, row)
	}
	var faults simulator.Faults
	if err := faults.Set("400=20%"); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{"out.jsonl", "out.parquet"} {
		for name, more := range map[string]string{
			"all columns": "", "some columns": "columns: {keep: [text, id], prefix: x_}\n", "an answer": "answer: {team: [a, b], n: number}\n",
		} {
			t.Run(name+" to "+output, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, simulator.Options{Deterministic: faults})
				r.write("job.yaml", strings.NewReplacer("in.jsonl", "in.parquet", "out.jsonl", output).Replace(textJob)+more)
				r.write("in.parquet", written(t, sink.Parquet, schema, rows))
				r.holdsG1(40)
				if found := r.verify(); found.Failed == 0 || len(found.Unchecked) != 0 {
					t.Errorf("found %+v, want failures, and nothing unchecked", found)
				}
			})
		}
	}
}

// Results of the Message Batches format are held against the requests, and what is done to them is found.
func TestVerifyMessageBatches(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"out.jsonl", "out.parquet"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", "input: in.jsonl\noutput: "+output+"\n")
			request := `{"custom_id":"%s","params":{"model":"claude-haiku-4-5-20251001","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}}` + "\n"
			r.write("in.jsonl", fmt.Sprintf(request, "a")+fmt.Sprintf(request, "b")+"{broken\n"+`{"custom_id":"d"}`+"\n"+
				`{"custom_id":"e","params":{"model":"claude-haiku-4-5"}}`+"\n"+`{"params":{}}`+"\n")
			r.holdsG1(6)
			whole := r.mustRows(output)
			for name, test := range map[string]struct {
				record         int
				column, change string
				want           string
			}{
				"id changed":             {1, "custom_id", `"x"`, `record 1 (id b, IN:2): column "custom_id" is not`},
				"id of a broken record":  {2, "custom_id", `"x"`, `record 2 (IN:3): column "custom_id" is not`},
				"type nonsense":          {1, "result", `{"type":"fine"}`, "record 1 (id b, IN:2): the result is neither"},
				"no message":             {1, "result", `{"type":"succeeded"}`, "record 1 (id b, IN:2): the result says succeeded and has no"},
				"no error":               {4, "result", `{"type":"errored","error":{}}`, "record 4 (id e, IN:5): the result says errored and has no"},
				"message out of nothing": {3, "result", `{"type":"succeeded","message":{}}`, "record 3 (id d, IN:4): the result says succeeded, and the record can't"},
			} {
				rows := slices.Clone(whole)
				rows[test.record] = set(rows[test.record], test.column, test.change)
				r.rewrite(output, rows)
				found := r.verify()
				want := strings.ReplaceAll(test.want, "IN", filepath.Join(r.dir, "in.jsonl"))
				if found.Faults != 1 || !strings.Contains(found.Problems[0].String(), want) {
					t.Errorf("%s: %d faults, %v\nwant %s", name, found.Faults, found.Problems, want)
				}
			}
		})
	}
}

// A record that can't have been asked has failed as bad_input, and nothing else is believed.
func TestVerifyBroken(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(250)+"{broken\n"+`{"id":"r251","text":"x","_status":"mine"}`+"\n")
	r.holdsG1(252)
	whole := r.mustRows("out.jsonl")
	for _, record := range []int{250, 251} {
		for _, change := range [][2]string{{"_status", `"succeeded"`}, {"_reason", `"refused"`}} {
			rows := slices.Clone(whole)
			rows[record] = set(rows[record], change[0], change[1])
			r.rewrite("out.jsonl", rows)
			if found := r.verify(); found.Faults != 1 || !strings.Contains(found.Problems[0].String(), "can't have been asked") {
				t.Errorf("record %d with %v: %v", record, change, found.Problems)
			}
		}
	}
}

// What the kept columns do not tell is not claimed.
func TestVerifyUnchecked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ keep, want string }{
		"nothing kept": {"[]", "the order of the rows"},
		"no id kept":   {"[text]", "records that are alike"},
		"id kept":      {"[id]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", textJob+"columns: {keep: "+test.keep+"}\n")
			r.write("in.jsonl", lines(30))
			r.holdsG1(30)
			found := r.verify()
			if said := strings.Join(found.Unchecked, "\n"); !strings.Contains(said, test.want) || (said == "") != (test.want == "") {
				t.Errorf("unchecked: %q, want %q", said, test.want)
			}
			for _, rows := range [][][]jobs.Member{r.mustRows("out.jsonl")[1:], append(r.mustRows("out.jsonl"), r.mustRows("out.jsonl")[3])} {
				r.rewrite("out.jsonl", rows)
				if found := r.verify(); found.Faults != 1 {
					t.Errorf("%d rows: %v", len(rows), found.Problems)
				}
			}
		})
	}
}

// A run in between is said to be that, with what is missing. Input that is another one by now proves nothing.
func TestVerifyIncomplete(t *testing.T) {
	t.Parallel()
	r := partialRun(t)
	found := r.verify()
	if found.OK() || found.Complete || found.Faults != 1 || !strings.Contains(found.Problems[0].What, "the run is not complete: ") ||
		!strings.Contains(found.Problems[0].What, "the first of them record ") {
		t.Errorf("found %+v", found)
	}
	r.complete()
	if found := r.verify(); !found.OK() {
		t.Errorf("complete: %v", found.Problems)
	}
	r.write("in.jsonl", strings.Replace(lines(2000), "r7", "x7", 1))
	var changed *coordinator.InputChangedError
	if _, err := coordinator.Verify(t.Context(), r.state()); !errors.As(err, &changed) || !strings.Contains(err.Error(), "contents of") {
		t.Errorf("changed input: %v", err)
	}
	if err := os.Remove(filepath.Join(r.dir, "in.jsonl")); err != nil {
		t.Fatal(err)
	}
	if _, err := coordinator.Verify(t.Context(), r.state()); !errors.As(err, &changed) || !strings.Contains(err.Error(), "in.jsonl is gone") {
		t.Errorf("no input: %v", err)
	}
	var usage *coordinator.UsageError
	if _, err := coordinator.Verify(t.Context(), coordinator.State{Dir: t.TempDir()}); !errors.As(err, &usage) {
		t.Errorf("no run: %v", err)
	}
}

// A change of the input that its fingerprint does not see is found in the rows.
func TestVerifyChangeInTheMiddle(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(5000))
	r.holdsG1(5000)
	r.write("in.jsonl", strings.Replace(r.read("in.jsonl"), "question 2500", "questiom 2500", 1))
	if found := r.verify(); found.Faults != 1 || *found.Problems[0].Record != 2500 {
		t.Errorf("found %d faults, %v; want record 2500", found.Faults, found.Problems)
	}
}

func ExampleVerify() {
	found, err := coordinator.Verify(context.Background(), coordinator.StateOf(".batchwright", "tickets", false))
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range found.Problems {
		fmt.Println(&found.Problems[i])
	}
	// Output: there is no run in .batchwright/tickets: start one with batchwright run
}
