package jobs

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBatchRequest(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, record, body, problem string }{
		{name: "params verbatim", record: `{"custom_id":"a","params":{"model": "m",  "max_tokens": 1.0}}`, body: `{"model": "m",  "max_tokens": 1.0}`},
		{name: "more members", record: `{"params":{},"custom_id":"a","note":1}`, body: `{}`},
		{name: "stream off", record: `{"custom_id":"a","params":{"stream":false}}`, body: `{"stream":false}`},
		{name: "no id", record: `{"params":{}}`, problem: "custom_id is missing: each line needs custom_id and params"},
		{name: "id that is a number", record: `{"custom_id":5,"params":{}}`, problem: "custom_id must be text, not a number"},
		{name: "id that is null", record: `{"custom_id":null,"params":{}}`, problem: "custom_id must be text, not null"},
		{name: "no params", record: `{"custom_id":"a"}`, problem: "params is missing: each line needs custom_id and params"},
		{name: "params that are a list", record: `{"custom_id":"a","params":[]}`, problem: "params must be an object: the body of a call to /v1/messages"},
		{name: "stream", record: `{"custom_id":"a","params":{"stream":true}}`, problem: "params.stream does not belong in a batch: leave it out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body, problem := BatchRequest(recordOf(t, tt.record))
			if string(body) != tt.body || problem != tt.problem {
				t.Errorf("got %q, %q", body, problem)
			}
		})
	}
}

func TestIllegalCustomID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": false, "Az09_-": false, strings.Repeat("x", 64): false,
		"": true, strings.Repeat("x", 65): true, "a b": true, "a.b": true, "ä": true, "a\n": true, "a/b": true,
	} {
		if got := IllegalCustomID(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}

func TestBatchRow(t *testing.T) {
	t.Parallel()
	errored := func(kind, message, requestID string) string {
		return `{"custom_id":"a-1","result":{"type":"errored","error":{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"},"request_id":` + requestID + `}}}`
	}
	const record = `{"custom_id":"a-1","params":{}}`
	tests := []struct {
		name, record string
		res          Result
		want         string
	}{
		{"message", record, Result{Status: Succeeded, Message: json.RawMessage(`{"type": "message", "new": 1}`)}, `{"custom_id":"a-1","result":{"type":"succeeded","message":{"type":"message","new":1}}}`},
		{"refusal", record, Result{Status: Failed, Reason: ReasonRefused, Message: json.RawMessage(`{"stop_reason":"refusal"}`)}, `{"custom_id":"a-1","result":{"type":"succeeded","message":{"stop_reason":"refusal"}}}`},
		{"rejected", record, Result{Status: Failed, Reason: ReasonRejected, HTTPStatus: 400, Error: "bad", RequestID: "req_1"}, errored("invalid_request_error", "bad", `"req_1"`)},
		{"rejected for its size", record, Result{Status: Failed, Reason: ReasonRejected, HTTPStatus: 413}, errored("request_too_large", "", "null")},
		{"too large for the limit", record, Result{Status: Failed, Reason: ReasonTooLarge, HTTPStatus: 429}, errored("rate_limit_error", "", "null")},
		{"too large before any call", record, Result{Status: Failed, Reason: ReasonTooLarge}, errored("request_too_large", "", "null")},
		{"exhausted by a 500", record, Result{Status: Failed, Reason: ReasonExhausted, HTTPStatus: 500}, errored("api_error", "", "null")},
		{"exhausted by overload", record, Result{Status: Failed, Reason: ReasonExhausted, HTTPStatus: 529}, errored("overloaded_error", "", "null")},
		{"exhausted by a timeout there", record, Result{Status: Failed, Reason: ReasonExhausted, HTTPStatus: 504}, errored("timeout_error", "", "null")},
		{"exhausted by a broken connection", record, Result{Status: Failed, Reason: ReasonExhausted}, errored("api_error", "", "null")},
		{"poison", record, Result{Status: Failed, Reason: ReasonPoison}, errored("api_error", "", "null")},
		{"bad input", record, Result{Status: Failed, Reason: ReasonBadInput, Error: "no \"params\""}, errored("invalid_request_error", `no \"params\"`, "null")},
		{"broken record with a label", `{}`, Result{Status: Failed, Reason: ReasonBadInput, ID: "a-1"}, errored("invalid_request_error", "", "null")},
		{"broken record", `{}`, Result{Status: Failed, Reason: ReasonBadInput}, strings.Replace(errored("invalid_request_error", "", "null"), `"a-1"`, "null", 1)},
	}
	layout, err := (&Job{Columns: Columns{Prefix: "x"}}).Layout(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"custom_id", "result"}, layout.Schema().Names()); diff != "" {
		t.Error(diff)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec := recordOf(t, tt.record)
			if problem := layout.Check(rec); problem != "" {
				t.Error(problem)
			}
			if diff := cmp.Diff(tt.want, object(t, layout.Row(rec, &tt.res, nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func ExampleBatchRequest() {
	body, problem := BatchRequest(&Record{Fields: []Member{
		{Name: "custom_id", Value: json.RawMessage(`"a-1"`)},
		{Name: "params", Value: json.RawMessage(`{"model":"claude-haiku-4-5","max_tokens":20}`)},
	}})
	os.Stdout.WriteString(string(body) + problem)
	// Output: {"model":"claude-haiku-4-5","max_tokens":20}
}
