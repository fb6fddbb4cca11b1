package jobs

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// object writes a row as one JSON object, as JSONL output does.
func object(tb testing.TB, row []Member) string {
	tb.Helper()
	text := []byte("{")
	for i, m := range row {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(AppendString(text, m.Name), ':'), m.Value...)
	}
	text = append(text, '}')
	if !json.Valid(text) {
		tb.Fatalf("row is not JSON: %s", text)
	}
	return string(text)
}

func layoutOf(tb testing.TB, job *Job, input Schema) *Layout {
	tb.Helper()
	layout, err := job.Layout(input, false)
	if err != nil {
		tb.Fatal(err)
	}
	return layout
}

const end = `"_status":"succeeded","_reason":null,"_error":null,"_stop_reason":"end_turn","_model":"claude-haiku-4-5-20251001",` +
	`"_input_tokens":10,"_output_tokens":5,"_cache_read_tokens":0,"_cache_write_tokens":0,"_cost_usd":0.000035000,"_attempts":1,` +
	`"_latency_ms":1234,"_request_id":"req_1","_finished_at":"2026-11-22T12:45:07.120Z"}`

func ended(tb testing.TB, stopReason, text string) *Result {
	tb.Helper()
	res := resultOf(tb, messageOf(stopReason, text))
	res.Latency, res.RequestID = 1234567*time.Microsecond, "req_1"
	res.FinishedAt = time.Date(2026, 11, 22, 13, 45, 7, 120_999_999, time.FixedZone("", 3600))
	return res
}

func TestLayoutRow(t *testing.T) {
	t.Parallel()
	const record = `{"id": 7,"n":1.50,"o":{"a": 1}}`
	schema := `{"team":["x","y"],"n2":"integer","o2":{"a":"string","b":"number?"}}`
	const good = `{"n2":3.0,"team":"x","o2":{"b":null,"a":"é","c":1}}`
	// The free schema allows members to be absent and unknown ones to be there.
	free := `{"type":"object","properties":{"team":{"type":"string"},"any":{}}}`
	tests := []struct {
		name    string
		answer  string
		columns Columns
		// stop and text are of the message; there was none without stop.
		stop, text string
		want       string
	}{
		{
			name: "free text", stop: "end_turn", text: "Hi \"you\" <b>",
			want: `{"id":7,"n":1.50,"o":{"a": 1},"response":"Hi \"you\" <b>",` + end,
		},
		{
			name: "schema", answer: schema, columns: Columns{Keep: []string{"id"}},
			stop: "end_turn", text: `{"n2":3.0,"team":"x","o2":{"b":null,"a":"é"}}`,
			want: `{"id":7,"team":"x","n2":3,"o2":{"a":"é","b":null},"response":null,` + end,
		},
		{
			name: "schema with members left out", answer: free, columns: Columns{Keep: []string{}},
			stop: "end_turn", text: `{"any": [1, 2.0], "other": 1}`,
			want: `{"team":null,"any":[1,2.0],"response":null,` + end,
		},
		{
			name: "invalid answer keeps its text", answer: schema, columns: Columns{Keep: []string{"missing", "id"}},
			stop: "end_turn", text: good,
			want: `{"missing":null,"id":7,"team":null,"n2":null,"o2":null,"response":"{\"n2\":3.0,\"team\":\"x\",\"o2\":{\"b\":null,\"a\":\"é\",\"c\":1}}",` +
				`"_status":"failed","_reason":"invalid","_error":"the answer does not fit the schema: o2 has 1 members that the schema does not name",` +
				end[len(`"_status":"succeeded","_reason":null,"_error":null,`):],
		},
		{
			name: "refused answer of free text", columns: Columns{Keep: []string{}},
			stop: "refusal", text: "I cannot",
			want: `{"response":"I cannot","_status":"failed","_reason":"refused","_error":"the model declined to answer","_stop_reason":"refusal",` +
				end[len(`"_status":"succeeded","_reason":null,"_error":null,"_stop_reason":"end_turn",`):],
		},
		{
			name: "prefix", answer: `{"id":"string"}`, columns: Columns{Keep: []string{"id"}, Prefix: "x_", Add: []AddedColumn{{"stop", ".stop_reason"}}},
			want: `{"id":7,"x_id":null,"x_response":null,"x_stop":null,"x__status":"failed","x__reason":"bad_input","x__error":"broken","x__stop_reason":null,` +
				`"x__model":null,"x__input_tokens":null,"x__output_tokens":null,"x__cache_read_tokens":null,"x__cache_write_tokens":null,` +
				`"x__cost_usd":null,"x__attempts":0,"x__latency_ms":null,"x__request_id":null,"x__finished_at":null}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := &Job{Request: &Template{}, Columns: tt.columns}
			if tt.answer != "" {
				job.Answer = answerOf(t, tt.answer)
			}
			res := &Result{Status: Failed, Reason: ReasonBadInput, Error: "broken"}
			if tt.stop != "" {
				res = ended(t, tt.stop, tt.text)
			}
			job.Judge(res)
			layout := layoutOf(t, job, nil)
			rec := recordOf(t, record)
			if problem := layout.Check(rec); problem != "" {
				t.Fatal(problem)
			}
			row := layout.Row(rec, res, nil)
			if diff := cmp.Diff(tt.want, object(t, row)); diff != "" {
				t.Error(diff)
			}
			// Every value fits the type that the schema promises: the columns of the row are the schema's.
			offset := len(row) - len(layout.Schema())
			for i, column := range layout.Schema() {
				if row[offset+i].Name != column.Name {
					t.Errorf("column %d is %s, schema says %s", i, row[offset+i].Name, column.Name)
				}
			}
		})
	}
}

func TestLayoutRowOfBrokenRecord(t *testing.T) {
	t.Parallel()
	layout := layoutOf(t, &Job{Request: &Template{}, Columns: Columns{Keep: []string{"id"}}}, nil)
	row := layout.Row(&Record{Problem: "invalid UTF-8"}, &Result{Status: Failed}, nil)
	if row[0].Name != "response" {
		t.Errorf("a broken record kept %s", row[0].Name)
	}
}

func TestLayoutAddsPaths(t *testing.T) {
	t.Parallel()
	message := json.RawMessage(`{"id":"msg_1","type":"message","model":"m","stop_reason":"tool_use","stop_sequence":null,"content":[
		{"type":"thinking","thinking":"a"},{"type":"text","text":"{\"team\":"},{"type":"thinking","thinking":"b"},{"type":"text","text":" \"x\"}"},
		{"type":"tool_use","id":"t1","name":"f","input":{"city": "Rom"}},{"type":"tool_use","name":"g"}],
		"usage":{"input_tokens":3,"output_tokens":4.0,"cache_read_input_tokens":4.5,"cache_creation_input_tokens":1e999999999,"cache_creation":{"ephemeral_5m_input_tokens":"many"},"service_tier":"standard"}}`)
	tests := []struct{ path, want string }{
		{".text", `"{\"team\": \"x\"}"`},
		{".thinking", `"ab"`},
		{".tool_use", `[{"type":"tool_use","id":"t1","name":"f","input":{"city":"Rom"}},{"type":"tool_use","name":"g"}]`},
		{".tool_use.0.input.city", `"Rom"`},
		{".tool_use.5.input", `null`},
		{".stop_reason", `"tool_use"`},
		{".stop_sequence", `null`},
		{".usage.input_tokens", `3`},
		{".usage.output_tokens", `4`},
		{".usage.cache_creation.ephemeral_5m_input_tokens", `null`},
		{".usage.cache_read_input_tokens", `null`},
		{".usage.cache_creation_input_tokens", `null`},
		{".usage.service_tier", `"standard"`},
		{".usage.cache_creation", `{"ephemeral_5m_input_tokens":"many"}`},
		{".content.0.type", `"thinking"`},
		{".json", `{"team":"x"}`},
		{".json.team", `"x"`},
		{".json.none.there", `null`},
		{".nothing", `null`},
	}
	job := &Job{Request: &Template{}, Columns: Columns{Keep: []string{}}}
	for _, tt := range tests {
		job.Columns.Add = append(job.Columns.Add, AddedColumn{tt.path, tt.path})
	}
	for _, res := range []*Result{{Status: Succeeded, Message: message}, {Status: Failed}} {
		row := layoutOf(t, job, nil).Row(&Record{}, res, nil)
		for i, tt := range tests {
			want := tt.want
			if res.Message == nil {
				want = "null"
			}
			if got := row[1+i]; got.Name != tt.path || string(got.Value) != want {
				t.Errorf("%s is %s, want %s", got.Name, got.Value, want)
			}
		}
	}
}

func TestLayoutSchema(t *testing.T) {
	t.Parallel()
	text := Type{Kind: KindString}
	job := &Job{
		Request: &Template{},
		Answer:  answerOf(t, `{"n":"integer"}`),
		Columns: Columns{Keep: []string{"d", "id"}, Add: []AddedColumn{
			{"in", ".usage.input_tokens"}, {"m", ".json.n"}, {"o", ".json.o"}, {"words", ".text"}, {"all", ".content"},
		}},
	}
	input := Schema{{"id", Type{Kind: KindInteger, Bits: 32}}, {"x", text}, {"d", Type{Kind: KindDate}}}
	want := Schema{
		{"d", Type{Kind: KindDate}},
		{"id", Type{Kind: KindInteger, Bits: 32}},
		{"n", Type{Kind: KindInteger}},
		{"response", text},
		{"in", Type{Kind: KindInteger}},
		{"m", Type{Kind: KindInteger}},
		{"o", Type{Kind: KindJSON}},
		{"words", text},
		{"all", Type{Kind: KindJSON}},
		{"_status", text},
		{"_reason", text},
		{"_error", text},
		{"_stop_reason", text},
		{"_model", text},
		{"_input_tokens", Type{Kind: KindInteger}},
		{"_output_tokens", Type{Kind: KindInteger}},
		{"_cache_read_tokens", Type{Kind: KindInteger}},
		{"_cache_write_tokens", Type{Kind: KindInteger}},
		{"_cost_usd", Type{Kind: KindDecimal, Precision: 18, Scale: 9}},
		{"_attempts", Type{Kind: KindInteger}},
		{"_latency_ms", Type{Kind: KindInteger}},
		{"_request_id", text},
		{"_finished_at", Type{Kind: KindTimestamp, Unit: "millis", UTC: true}},
	}
	if diff := cmp.Diff(want, layoutOf(t, job, input).Schema()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[2:], layoutOf(t, job, nil).Schema()); diff != "" {
		t.Errorf("without the input: %s", diff)
	}
	job.Columns.Keep = nil
	if diff := cmp.Diff(input.Names(), layoutOf(t, job, input).Schema().Names()[:3]); diff != "" {
		t.Errorf("keeping all: %s", diff)
	}
}

func TestLayoutFaults(t *testing.T) {
	t.Parallel()
	text := Type{Kind: KindString}
	input := Schema{{"id", text}, {"_status", text}, {"team", text}}
	tests := []struct {
		name, answer string
		columns      Columns
		input        Schema
		want         string
	}{
		{"column of the input", "", Columns{}, input, `column "_status" of the input is also one that the output adds: set columns.prefix, for example prefix: "answer_"`},
		{"column of the input despite a prefix", `{"am":"string"}`, Columns{Prefix: "te"}, input, `column "team" of the input is also one that the output adds: set columns.prefix to another one`},
		{"kept column of an unknown input", `{"team":"string"}`, Columns{Keep: []string{"team"}}, nil, `column "team" of the input is also one that the output adds: set columns.prefix, for example prefix: "answer_"`},
		{"unknown column", "", Columns{Keep: []string{"tem"}}, input, `columns.keep: no column "tem"; did you mean "team"? the input has id, _status, team`},
		{"column kept twice", "", Columns{Keep: []string{"id", "id"}}, input, `columns.keep names "id" twice`},
		{"added column that is there", "", Columns{Add: []AddedColumn{{"response", ".text"}}}, nil, `column "response" would stand twice in the output: call the one in columns.add or answer otherwise`},
		{"answer called like a column of the output", `{"_error":"string"}`, Columns{}, nil, `column "_error" would stand twice in the output: call the one in columns.add or answer otherwise`},
		{"path without its dot", "", Columns{Add: []AddedColumn{{"x", "usage"}}}, nil, `columns.add.x: "usage" is not a path into the message: write .text, .json.NAME, .usage.input_tokens or .content.0.type`},
		{"path with signs of a query", "", Columns{Add: []AddedColumn{{"x", ".content.#.text"}}}, nil, `columns.add.x: ".content.#.text" is not a path into the message: write .text, .json.NAME, .usage.input_tokens or .content.0.type`},
		{"path into text", "", Columns{Add: []AddedColumn{{"x", ".text.a"}}}, nil, `columns.add.x: ".text.a": .text is text and has no members`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := &Job{Columns: tt.columns}
			if tt.answer != "" {
				job.Answer = answerOf(t, tt.answer)
			}
			_, err := job.Layout(tt.input, false)
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An input without known columns is checked record by record.
func TestLayoutCheck(t *testing.T) {
	t.Parallel()
	layout := layoutOf(t, &Job{}, nil)
	if problem := layout.Check(recordOf(t, `{"status":1}`)); problem != "" {
		t.Error(problem)
	}
	const want = `column "_status" of the input is also one that the output adds: set columns.prefix, for example prefix: "answer_"`
	if diff := cmp.Diff(want, layout.Check(recordOf(t, `{"a":1,"_status":1}`))); diff != "" {
		t.Error(diff)
	}
	if problem := layoutOf(t, &Job{Columns: Columns{Keep: []string{"a"}}}, nil).Check(recordOf(t, `{"_status":1}`)); problem != "" {
		t.Errorf("a column that is not kept: %s", problem)
	}
}

func BenchmarkLayoutRow(b *testing.B) {
	job := &Job{Request: &Template{}, Answer: answerOf(b, `{"team":["billing","tech"],"urgent":"boolean"}`)}
	layout := layoutOf(b, job, nil)
	rec := recordOf(b, `{"id":1,"subject":"No money","body":"text"}`)
	res := ended(b, "end_turn", `{"team":"tech","urgent":true}`)
	var row []Member
	b.ReportAllocs()
	for b.Loop() {
		res.Status = Succeeded
		job.Judge(res)
		row = layout.Row(rec, res, row[:0])
	}
}

func ExampleJob_Layout() {
	job := &Job{Columns: Columns{Keep: []string{"id"}, Add: []AddedColumn{{Name: "tokens", Path: ".usage.output_tokens"}}}}
	layout, err := job.Layout(nil, false)
	if err != nil {
		panic(err)
	}
	rec := &Record{Fields: []Member{{Name: "id", Value: json.RawMessage(`"a1"`)}, {Name: "text", Value: json.RawMessage(`"Hello"`)}}}
	res := &Result{Status: Succeeded, Message: json.RawMessage(`{"content":[{"type":"text","text":"Hi"}],"usage":{"output_tokens":3}}`)}
	for _, member := range layout.Row(rec, res, nil)[:4] {
		os.Stdout.WriteString(member.Name + " " + string(member.Value) + "\n")
	}
	// Output:
	// id "a1"
	// response "Hi"
	// tokens 3
	// _status "succeeded"
}
