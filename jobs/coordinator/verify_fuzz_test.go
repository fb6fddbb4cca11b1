package coordinator_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/worker/simulator"
)

// A run of any input passes. Its output with a byte or a row changed does not, unless the change is in what verify has
// nothing to hold against: an answer and what it took, the spelling of a value, or bytes that are no value.
func FuzzVerify(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		r := newRig(t, simulator.Options{})
		output := pick(random, "out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.parquet")
		input, records := randomInput(t, random)
		keep := pick(random, "", "", "columns: {keep: [id, text]}\n", "columns: {keep: [text], prefix: a_}\n")
		answer := pick(random, "", "answer: {n: number, tags: [string]}\n")
		r.write(input, records)
		r.write("job.yaml", strings.NewReplacer("in.jsonl", input, "out.jsonl", output, "{{.text}}", `{{default \"none\" .text}}`).Replace(textJob)+keep+answer)
		r.complete()
		if found := r.verify(); !found.OK() {
			t.Fatalf("seed %d: the output of a true run (%s to %s): %v", seed, input, output, found.Problems)
		}
		whole, claimed := r.read(output), r.claimed(output)
		for range 60 {
			changed, what := r.change(random, output, whole)
			r.write(output, changed)
			same := cmp.Equal(claimed, r.claimed(output))
			if !same && r.verify().OK() {
				t.Fatalf("seed %d: not found in %s: %s\n%s", seed, output, what, cmp.Diff(claimed, r.claimed(output)))
			}
			r.write(output, whole)
		}
	})
}

func pick[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

// change makes another file of an output: one byte or one row is another one, one too many or one too few.
func (r *rig) change(random *rand.Rand, output, whole string) (changed, what string) {
	rows := r.mustRows(output)
	at := random.IntN(max(len(rows), 1))
	i := random.IntN(len(whole))
	switch kind := random.IntN(7); {
	case kind == 0 && len(rows) > 1:
		rows[at], rows[(at+1)%len(rows)] = rows[(at+1)%len(rows)], rows[at]
		what = fmt.Sprintf("row %d swapped with the next", at)
	case kind == 1 && len(rows) > 0:
		rows = slices.Delete(rows, at, at+1)
		what = fmt.Sprintf("row %d deleted", at)
	case kind == 2 && len(rows) > 0:
		rows = slices.Insert(rows, random.IntN(len(rows)+1), rows[at])
		what = fmt.Sprintf("row %d doubled", at)
	case kind == 3:
		return whole[:i] + whole[i+1:], fmt.Sprintf("byte %d deleted", i)
	case kind == 4:
		return whole[:i], fmt.Sprintf("cut off at byte %d", i)
	default:
		other := byte(random.IntN(255)) + whole[i] + 1
		return whole[:i] + string([]byte{other}) + whole[i+1:], fmt.Sprintf("byte %d is %q in place of %q", i, other, whole[i])
	}
	format, err := sink.FormatOf(output)
	if err != nil {
		r.t.Fatal(err)
	}
	var schema jobs.Schema
	if format.Typed() {
		if schema, _, err = parquetio.ReadSchema(filepath.Join(r.dir, output)); err != nil {
			r.t.Fatal(err)
		}
	}
	return written(r.t, format, schema, rows), what
}

// claimed is what verify answers for in an output: each row without the answer and what it took, each value without
// its spelling; an error in place of rows that can't be read.
func (r *rig) claimed(output string) any {
	rows, err := r.rows(output)
	if err != nil {
		return err.Error()
	}
	claimed := make([]map[string]any, 0, len(rows))
	for _, row := range rows {
		one := make(map[string]any)
		for _, member := range row {
			switch strings.TrimPrefix(member.Name, "a_") {
			case "response", "n", "tags", "_error", "_stop_reason", "_model", "_input_tokens", "_output_tokens", "_cache_read_tokens",
				"_cache_write_tokens", "_cost_usd", "_attempts", "_latency_ms", "_request_id", "_finished_at":
				continue
			case "_reason":
				one[member.Name] = string(member.Value) == "null" // which of the reasons there are is the run's word
			default:
				one[member.Name] = meaning(member.Value)
			}
		}
		claimed = append(claimed, one)
	}
	return claimed
}

// meaning decodes a value; its numbers become fractions.
func meaning(text json.RawMessage) any {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return err.Error()
	}
	return withFractions(value)
}

func withFractions(value any) any {
	switch v := value.(type) {
	case json.Number:
		if fraction, ok := new(big.Rat).SetString(v.String()); ok {
			return "number " + fraction.String()
		}
		return "number " + v.String()
	case []any:
		for i := range v {
			v[i] = withFractions(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = withFractions(v[name])
		}
	}
	return value
}

// randomInput is a file of up to 40 records and its name.
func randomInput(t *testing.T, random *rand.Rand) (name, content string) {
	t.Helper()
	n := max(random.IntN(41), 1) // the columns that the job keeps must be there, here and below
	switch random.IntN(4) {
	case 0:
		var b strings.Builder
		b.WriteString("id,text,\"a,b\"\n")
		for i := range n {
			if i > 0 && random.IntN(10) == 0 {
				b.WriteString("too,few\n")
				continue
			}
			fmt.Fprintf(&b, "%d,%s,%s\n", i/2, csvField(randomText(random)), csvField(randomText(random)))
		}
		return "in.csv", b.String()
	case 1:
		schema := jobs.Schema{
			{Name: "id", Type: jobs.Type{Kind: jobs.KindInteger}},
			{Name: "text", Type: jobs.Type{Kind: jobs.KindString}},
			{Name: "list", Type: jobs.Type{Kind: jobs.KindList, Element: &jobs.Type{Kind: jobs.KindNumber}}},
			{Name: "price", Type: jobs.Type{Kind: jobs.KindDecimal, Precision: 38, Scale: 10}},
			{Name: "any", Type: jobs.Type{Kind: jobs.KindJSON}},
		}
		var rows [][]jobs.Member
		for i := range n {
			row := []jobs.Member{
				{Name: "id", Value: json.RawMessage(strconv.Itoa(i / 2))},
				{Name: "text", Value: jobs.AppendString(nil, randomText(random))},
				{Name: "list", Value: json.RawMessage(pick(random, "[]", "null", "[1,null,0.1]", `["NaN",-0.0,1e300]`))},
				{Name: "price", Value: json.RawMessage(pick(random, "null", "1234567890123456789012345678.0123456789", "-0.0000000001", "0"))},
				{Name: "any", Value: randomValue(random, 3)},
			}
			if random.IntN(4) == 0 {
				row = row[:2]
			}
			rows = append(rows, row)
		}
		return "in.parquet", written(t, sink.Parquet, schema, rows)
	default:
		var b strings.Builder
		for i := range n {
			if i > 0 && random.IntN(15) == 0 {
				b.WriteString(pick(random, "{broken\n", "[1]\n", "{\"a\":1,\"a\":2}\n", "\n"))
				continue
			}
			fmt.Fprintf(&b, `{"id":%s,"text":%s`, pick(random, strconv.Itoa(i), `"same"`, "null", `"é"`), jobs.AppendString(nil, randomText(random)))
			for _, column := range []string{"x", "y", "weird \"name\"\n"} {
				if random.IntN(3) > 0 {
					fmt.Fprintf(&b, ` , %s: %s`, jobs.AppendString(nil, column), randomValue(random, 3))
				}
			}
			b.WriteString("}\n")
		}
		b.WriteString(`{"text":"last","id":"last"}`)
		return "in.jsonl", b.String()
	}
}

func csvField(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

func randomText(random *rand.Rand) string {
	return strings.Repeat(pick(random, "", "a", "question", "é😀", "\u2028<&>", "\"\\\n\t", "null", "1e5", "\x00"), 1+random.IntN(3))
}

// randomValue is any JSON value, spelled in any way, nested at most so deep.
func randomValue(random *rand.Rand, depth int) json.RawMessage {
	kind := random.IntN(7)
	if depth == 0 {
		kind = random.IntN(4)
	}
	switch kind {
	case 0:
		return json.RawMessage(pick(random, "null", "true", "false"))
	case 1:
		return json.RawMessage(pick(random, `"\u00e9\ud83d\ude00"`, `"\/"`, `""`, `"1"`))
	case 2:
		return json.RawMessage(pick(random, "0", "-0", "1", "1.0", "10e-1", "1E+2", "0.1", "-1.50"))
	case 3:
		return json.RawMessage(pick(random, "9007199254740993", "123456789012345678901234567890", "0.1234567890123456789", "1e400", "1e-400", "18446744073709551616"))
	case 4, 5:
		elements := make([]string, random.IntN(4))
		for i := range elements {
			elements[i] = string(randomValue(random, depth-1))
		}
		return json.RawMessage("[ " + strings.Join(elements, " ,") + "]")
	default:
		var members []string
		for _, name := range []string{"a", "b", "é", ""} {
			if random.IntN(2) == 0 {
				members = append(members, fmt.Sprintf("%q : %s", name, randomValue(random, depth-1)))
			}
		}
		return json.RawMessage("{" + strings.Join(members, ",") + " }")
	}
}
