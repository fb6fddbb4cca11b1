package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tidwall/gjson"
)

var errNotResult = errors.New("not a result")

var messageMember = []byte(`,"message":`)

// AppendResult appends the result as one JSON object: the entry of a journal, specified in docs/format.md. It is
// written by hand because it is done twice for every record and must copy the message as it is.
func AppendResult(dst []byte, r *Result) []byte {
	dst = append(dst, `{"record":`...)
	dst = strconv.AppendInt(dst, r.Record, 10)
	dst = appendText(dst, `,"id":`, r.ID)
	dst = appendText(dst, `,"digest":`, r.Digest.String())
	dst = appendCount(dst, `,"round":`, int64(r.Round))
	dst = appendText(dst, `,"status":`, string(r.Status))
	dst = appendText(dst, `,"reason":`, string(r.Reason))
	dst = appendText(dst, `,"error":`, r.Error)
	dst = appendCount(dst, `,"http_status":`, int64(r.HTTPStatus))
	dst = appendCount(dst, `,"attempts":`, int64(r.Attempts))
	dst = appendCount(dst, `,"calls":`, int64(r.Calls))
	dst = appendCount(dst, `,"latency_ns":`, int64(r.Latency))
	dst = appendText(dst, `,"request_id":`, r.RequestID)
	dst = append(dst, `,"finished_at":"`...)
	dst = r.FinishedAt.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = appendText(dst, `,"stop_reason":`, r.StopReason)
	dst = appendText(dst, `,"model":`, r.Model)
	dst = appendCount(dst, `,"input_tokens":`, r.Usage.Input)
	dst = appendCount(dst, `,"output_tokens":`, r.Usage.Output)
	dst = appendCount(dst, `,"cache_read_tokens":`, r.Usage.CacheRead)
	dst = appendCount(dst, `,"cache_write_5m_tokens":`, r.Usage.CacheWrite5m)
	dst = appendCount(dst, `,"cache_write_1h_tokens":`, r.Usage.CacheWrite1h)
	if r.Priced {
		dst = append(dst, `,"cost_nusd":`...)
		dst = strconv.AppendInt(dst, int64(r.Cost), 10)
	}
	if len(r.Message) > 0 {
		dst = append(dst, messageMember...)
		if bytes.IndexByte(r.Message, '\n') < 0 {
			dst = append(dst, r.Message...)
		} else { // sealed journals are JSON lines
			dst = appendCompact(dst, r.Message)
		}
	}
	return append(dst, '}')
}

// ParseResult reads what AppendResult wrote; that data is valid JSON is for the caller to know. Unknown members are left out, so that a journal written by a newer
// minor version can still be read. The result's message lies in data.
func ParseResult(data []byte) (Result, error) {
	var r Result
	// The message is the last member, and no string can hold a quote unescaped.
	head, message, answered := bytes.Cut(data, messageMember)
	if answered {
		r.Message = bytes.TrimSuffix(message, []byte{'}'})
	}
	var problem error
	seen := false
	gjson.ParseBytes(head).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "record":
			r.Record, seen = value.Int(), true
		case "id":
			r.ID = value.Str
		case "digest":
			problem = r.Digest.UnmarshalText([]byte(value.Str))
		case "round":
			r.Round = int(value.Int())
		case "status":
			r.Status = Status(value.Str)
		case "reason":
			r.Reason = Reason(value.Str)
		case "error":
			r.Error = value.Str
		case "http_status":
			r.HTTPStatus = int(value.Int())
		case "attempts":
			r.Attempts = int(value.Int())
		case "calls":
			r.Calls = int(value.Int())
		case "latency_ns":
			r.Latency = time.Duration(value.Int())
		case "request_id":
			r.RequestID = value.Str
		case "finished_at":
			r.FinishedAt, problem = time.Parse(time.RFC3339Nano, value.Str)
		case "stop_reason":
			r.StopReason = value.Str
		case "model":
			r.Model = value.Str
		case "input_tokens":
			r.Usage.Input = value.Int()
		case "output_tokens":
			r.Usage.Output = value.Int()
		case "cache_read_tokens":
			r.Usage.CacheRead = value.Int()
		case "cache_write_5m_tokens":
			r.Usage.CacheWrite5m = value.Int()
		case "cache_write_1h_tokens":
			r.Usage.CacheWrite1h = value.Int()
		case "cost_nusd":
			r.Cost, r.Priced = Nanodollars(value.Int()), true
		}
		return problem == nil
	})
	if problem != nil {
		return Result{}, fmt.Errorf("%w: %w", errNotResult, problem)
	}
	if !seen || (r.Status != Succeeded && r.Status != Failed) {
		return Result{}, errNotResult
	}
	return r, nil
}

// appendText appends a member with a string, nothing when it is empty.
func appendText(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return AppendString(append(dst, name...), text)
}

// appendCount appends a member with a number, nothing when it is zero.
func appendCount(dst []byte, name string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), n, 10)
}
