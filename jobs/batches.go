package jobs

import (
	"encoding/json"
	"net/http"
)

// BatchRequest reads a record in the Message Batches request format, {"custom_id", "params"}: the body of its call is
// params as it stands. problem says what is wrong with the record, empty when nothing is. The id's form is not its
// business: see IllegalCustomID.
func BatchRequest(rec *Record) (body []byte, problem string) {
	id, ok := rec.Get("custom_id")
	switch v := jsonValue(id); {
	case !ok:
		return nil, "custom_id is missing: each line needs custom_id and params"
	case v.kind != valueText:
		return nil, "custom_id must be text, not " + v.kind.String()
	}
	params, ok := rec.Get("params")
	if !ok {
		return nil, "params is missing: each line needs custom_id and params"
	}
	v := jsonValue(params)
	if v.kind != valueObject {
		return nil, "params must be an object: the body of a call to /v1/messages"
	}
	if stream, ok := v.member("stream"); ok && stream.truth() {
		return nil, "params.stream does not belong in a batch: leave it out"
	}
	return params, ""
}

// IllegalCustomID reports whether the Message Batches API would refuse an id: it takes 1 to 64 ASCII letters, digits,
// underscores and hyphens.
func IllegalCustomID(id string) bool {
	const longest = 64
	if id == "" || len(id) > longest {
		return true
	}
	for _, c := range []byte(id) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return true
		}
	}
	return false
}

// batchSchema are the columns of the Message Batches result format.
var batchSchema = Schema{{"custom_id", Type{Kind: KindString}}, {"result", Type{Kind: KindJSON}}}

// batchRow appends a row in the Message Batches result format: {"custom_id", "result"}, where result is succeeded with
// a message or errored with an error. The format's readers judge a message by its stop reason themselves, so a
// message is always a success.
func batchRow(row []Member, rec *Record, res *Result) []Member {
	id, ok := rec.Get("custom_id")
	switch {
	case ok:
	case res.ID != "":
		id = quoteJSON(res.ID)
	default:
		id = json.RawMessage("null")
	}
	var result []byte
	if res.Message != nil {
		result = append(appendCompact([]byte(`{"type":"succeeded","message":`), res.Message), '}')
	} else {
		result = append(result, `{"type":"errored","error":{"type":"error","error":{"type":`...)
		result = AppendString(result, batchErrorType(res))
		result = append(result, `,"message":`...)
		result = AppendString(result, res.Error)
		result = append(result, `},"request_id":`...)
		result = append(append(result, textOrNull(res.RequestID)...), "}}"...)
	}
	return append(row, Member{"custom_id", id}, Member{"result", result})
}

// batchErrorType names a failure as the API's errors do. A status says it best; without one the reason does.
func batchErrorType(res *Result) string {
	const overloaded = 529 // the API's own, missing in net/http
	switch res.HTTPStatus {
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case overloaded:
		return "overloaded_error"
	}
	switch res.Reason {
	case ReasonRejected, ReasonBadInput:
		return "invalid_request_error"
	case ReasonTooLarge:
		return "request_too_large"
	default: // exhausted and poison; the other reasons have a message
		return "api_error"
	}
}

func textOrNull(text string) json.RawMessage {
	if text == "" {
		return json.RawMessage("null")
	}
	return quoteJSON(text)
}
