package messages

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
)

const goodMessage = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],` +
	`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}`

// now is the time of every answer in the tables.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func envelope(kind, message string) string {
	return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q},"request_id":"req_9"}`, kind, message)
}

func coded(kind, code string) string {
	return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":"m","details":{"error_code":%q}}}`, kind, code)
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// Each row is a shape that a server, a gateway or the network really sends; want leaves out what does not matter.
func TestClassify(t *testing.T) {
	t.Parallel()
	rejected := Verdict{Kind: Rejected, Reason: jobs.ReasonRejected}
	tooLarge := Verdict{Kind: Rejected, Reason: jobs.ReasonTooLarge}
	retry := Verdict{Kind: Retry}
	limited := Verdict{Kind: RetryAfter, Pressure: Limited}
	overloaded := Verdict{Kind: RetryAfter, Pressure: Overloaded}
	blocked := func(remedy string) Verdict { return Verdict{Kind: Blocked, Remedy: remedy} }
	page := "<!DOCTYPE html>\n<html><head><TITLE>502 Bad\nGateway</TITLE></head></html>"

	for _, row := range []struct {
		name   string
		status int
		header http.Header
		body   string
		err    error
		want   Verdict
	}{
		// Answers.
		{name: "Message", status: 200, body: goodMessage, want: Verdict{Kind: Answered}},
		{name: "Message with space around it", status: 200, body: "\r\n" + goodMessage + "\n", want: Verdict{Kind: Answered}},
		{name: "Message with a null error", status: 200, body: `{"type":"message","stop_reason":"end_turn","error":null}`, want: Verdict{Kind: Answered}},
		{name: "refusal is an answer", status: 200, body: `{"type":"message","content":[],"stop_reason":"refusal"}`, want: Verdict{Kind: Answered}},
		{name: "Message on 201", status: 201, body: goodMessage, want: retry},
		{name: "Message without stop reason", status: 200, body: `{"type":"message","content":[]}`, want: retry},
		{name: "Message with null stop reason", status: 200, body: `{"type":"message","stop_reason":null}`, want: retry},
		{name: "Message with empty stop reason", status: 200, body: `{"type":"message","stop_reason":""}`, want: retry},
		{name: "Message with an error", status: 200, body: `{"type":"message","stop_reason":"end_turn","error":{"message":"x"}}`, want: retry},
		{name: "other object", status: 200, body: `{"object":"chat.completion","stop_reason":"end_turn"}`, want: retry},
		{name: "array", status: 200, body: `[` + goodMessage + `]`, want: retry},
		{name: "cut Message", status: 200, body: goodMessage[:len(goodMessage)-1], want: retry},
		{name: "two Messages", status: 200, body: goodMessage + goodMessage, want: retry},
		{name: "invalid UTF-8", status: 200, body: strings.Replace(goodMessage, "hi", "h\xff", 1), want: retry},
		{name: "HTML on 200", status: 200, body: page, want: retry},
		{name: "empty on 200", status: 200, want: retry},
		{name: "no content", status: 204, want: retry},
		{name: "nested without end", status: 200, body: strings.Repeat("[", 200_000), want: retry},

		// The service's own errors (messages-api, section 4).
		{name: "400", status: 400, body: envelope("invalid_request_error", "max_tokens: required"), want: rejected},
		{name: "401", status: 401, body: envelope("authentication_error", "invalid bearer token"), want: blocked(remedyCredential)},
		{name: "402", status: 402, body: envelope("billing_error", "unpaid"), want: blocked(remedyBilling)},
		{name: "403", status: 403, body: envelope("permission_error", "not allowed"), want: blocked(remedyPermission)},
		{name: "404 model", status: 404, body: envelope("not_found_error", "model: claude-nope"), want: blocked(remedyModel)},
		{name: "404 file", status: 404, body: envelope("not_found_error", "File not found: file_1"), want: rejected},
		{name: "409", status: 409, body: envelope("conflict_error", "busy"), want: retry},
		{name: "413", status: 413, body: envelope("request_too_large", "too big"), want: tooLarge},
		{name: "413 from the edge", status: 413, body: "<html><title>413</title></html>", want: tooLarge},
		{name: "413 after decoding", status: 413, body: coded("request_too_large", "request_body_too_large_after_decoding"), want: tooLarge},
		{name: "422", status: 422, body: envelope("invalid_request_error", "x"), want: rejected},
		{name: "429", status: 429, header: headers("Retry-After", "7"), body: envelope("rate_limit_error", "slow"), want: Verdict{Kind: RetryAfter, Pressure: Limited, Wait: 7 * time.Second}},
		{name: "429 without retry-after", status: 429, body: envelope("rate_limit_error", "slow"), want: limited},
		{name: "429 ramp", status: 429, header: headers("Retry-After", "2"), body: coded("rate_limit_error", "ramp_limit_exceeded"), want: Verdict{Kind: RetryAfter, Pressure: Ramping, Wait: 2 * time.Second}},
		{name: "429 tier spend cap", status: 429, body: coded("rate_limit_error", "enforced_spend_limit_reached"), want: blocked(remedySpend)},
		{name: "429 contract spend cap", status: 429, body: coded("rate_limit_error", "contract_spend_limit_reached"), want: blocked(remedySpend)},
		{name: "400 own spend limit", status: 400, body: envelope("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01."), want: blocked(remedySpend)},
		{name: "400 workspace spend limit", status: 400, body: envelope("invalid_request_error", "You have reached your specified workspace API usage limits."), want: blocked(remedySpend)},
		{name: "400 no credit", status: 400, body: envelope("invalid_request_error", "Your credit balance is too low to access the API."), want: blocked(remedyBilling)},
		{name: "400 on hold", status: 400, body: coded("invalid_request_error", "organization_on_hold"), want: blocked(remedyHold)},
		{name: "400 disabled", status: 400, body: envelope("invalid_request_error", "This organization has been disabled."), want: blocked(remedyHold)},
		{name: "400 encryption key disabled", status: 400, body: coded("invalid_request_error", "cmek_key_disabled"), want: blocked(remedyEncryption)},
		{name: "400 encryption key's network", status: 400, body: coded("invalid_request_error", "cmek_network_blocked"), want: blocked(remedyEncryption)},
		{name: "403 encryption settings unread", status: 403, body: coded("permission_error", "cmek_context_unavailable"), want: retry},
		{name: "409 skill undecryptable", status: 409, body: coded("conflict_error", "skill_read_blocked_undecryptable"), want: blocked(remedyEncryption)},
		{name: "400 image", status: 400, body: coded("invalid_request_error", "image_dimensions_too_large"), want: rejected},
		{name: "400 prompt quotes a limit", status: 400, body: envelope("invalid_request_error", "messages.0: You have reached your specified API usage limits"), want: rejected},
		{name: "402 linked organization", status: 402, body: coded("billing_error", "linked_organization_spend_limit_reached"), want: blocked(remedySpend)},
		{name: "403 user profile", status: 403, body: coded("permission_error", "user_profile_not_billable"), want: blocked(remedyPermission)},
		{name: "500", status: 500, body: envelope("api_error", "oops"), want: retry},
		{name: "503 encryption key unreachable", status: 503, body: coded("api_error", "cmek_key_unreachable"), want: retry},
		{name: "503 with retry-after", status: 503, header: headers("Retry-After", "3"), want: Verdict{Kind: Retry, Wait: 3 * time.Second}},
		{name: "504", status: 504, body: envelope("timeout_error", "slow"), want: retry},
		{name: "529", status: 529, body: envelope("overloaded_error", "busy"), want: overloaded},
		{name: "529 compaction", status: 529, header: headers("Retry-After-Ms", "250"), body: coded("overloaded_error", "compaction_unavailable"), want: Verdict{Kind: RetryAfter, Pressure: Overloaded, Wait: 250 * time.Millisecond}},
		{name: "408", status: 408, want: retry},
		{name: "425", status: 425, want: retry},
		{name: "unlisted 4xx", status: 418, body: envelope("invalid_request_error", "x"), want: rejected},

		// Error events of a stream, and errors inside a 200.
		{name: "stream overloaded", status: 200, body: envelope("overloaded_error", "busy"), want: overloaded},
		{name: "stream limited", status: 200, body: envelope("rate_limit_error", "slow"), want: limited},
		{name: "stream api error", status: 200, body: envelope("api_error", "oops"), want: retry},
		{name: "stream invalid request", status: 200, body: envelope("invalid_request_error", "x"), want: rejected},
		{name: "200 dead key", status: 200, body: envelope("authentication_error", "x"), want: blocked(remedyCredential)},
		{name: "200 unknown type", status: 200, body: envelope("new_error", "x"), want: retry},

		// Gateways (messages-api, section 10).
		{name: "new-api routing 401", status: 401, body: `{"error":{"message":"bad token (request id: 1)","type":"new_api_error","code":""}}`, want: blocked(remedyCredential)},
		{name: "new-api 429 in Chinese", status: 429, body: `{"error":{"message":"请求过于频繁","type":"new_api_error","code":""}}`, want: limited},
		{name: "new-api unknown model", status: 503, body: `{"error":{"message":"no channel","type":"new_api_error","code":"model_not_found"}}`, want: blocked(remedyModel)},
		{name: "new-api out of quota", status: 403, body: `{"error":{"message":"x","type":"new_api_error","code":"insufficient_user_quota"}}`, want: blocked(remedyBilling)},
		{name: "new-api relay", status: 500, body: `{"type":"error","error":{"type":"upstream_error","message":"x"}}`, want: retry},
		{name: "new-api relay status", status: 502, body: `{"type":"error","error":{"type":"bad_response_status_code","message":"x"}}`, want: retry},
		{name: "gateway wraps overload", status: 500, body: envelope("overloaded_error", "busy"), want: overloaded},
		{name: "gateway wraps limit", status: 503, body: envelope("rate_limit_error", "slow"), want: limited},
		{name: "OpenRouter 200 with 429", status: 200, body: `{"error":{"code":429,"message":"slow"}}`, want: limited},
		{name: "OpenRouter 200 with 502", status: 200, body: `{"error":{"code":502,"message":"down","metadata":{}}}`, want: retry},
		{name: "OpenRouter 200 with 402", status: 200, body: `{"error":{"code":402,"message":"credits"}}`, want: blocked(remedyBilling)},
		{name: "OpenRouter 200 with 400", status: 200, body: `{"error":{"code":400,"message":"bad"}}`, want: rejected},
		{name: "OpenRouter 200 with odd code", status: 200, body: `{"error":{"code":7,"message":"?"}}`, want: retry},
		{name: "OpenRouter invalid model", status: 400, body: `{"error":{"code":400,"message":"x/y is not a valid model ID"}}`, want: blocked(remedyModel)},
		{name: "OpenRouter moderation", status: 403, body: `{"error":{"code":403,"message":"flagged","metadata":{"reasons":["x"],"flagged_input":"…"}}}`, want: rejected},
		{name: "LiteLLM 400", status: 400, body: `{"error":{"message":"x","type":"None","param":"None","code":"400"}}`, want: rejected},
		{name: "LiteLLM 429", status: 429, body: `{"error":{"message":"x","type":"None","param":"None","code":"429"}}`, want: limited},
		{name: "LiteLLM 200 with 500", status: 200, body: `{"error":{"message":"x","type":"None","code":"500"}}`, want: retry},
		{name: "LiteLLM 200 with 401", status: 200, body: `{"error":{"message":"x","type":"None","code":"401"}}`, want: blocked(remedyCredential)},
		{name: "vLLM model", status: 404, body: `{"type":"error","error":{"type":"NotFoundError","message":"The model x does not exist."}}`, want: blocked(remedyModel)},
		{name: "vLLM validation", status: 400, body: `{"error":{"message":"x","type":"BadRequestError","param":null,"code":400}}`, want: rejected},
		{name: "vLLM internal", status: 500, body: envelope("internal_error", "x"), want: retry},
		{name: "llama.cpp", status: 500, body: `{"error":{"code":500,"message":"x","type":"server_error"}}`, want: retry},
		{name: "Ollama", status: 404, body: `{"error":"model 'x' not found"}`, want: blocked(remedyModel)},
		{name: "quota as type", status: 429, body: `{"error":{"message":"x","type":"insufficient_quota","code":null}}`, want: blocked(remedyBilling)},
		{name: "Google", status: 403, body: `{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}`, want: blocked(remedyPermission)},
		{name: "mock without type", status: 404, body: `{"error":{"message":"No fixture matched","type":"invalid_request_error"}}`, want: rejected},
		{name: "FastAPI 422", status: 422, body: `{"detail":[{"loc":["body","messages",0],"msg":"Field required","input":"the prompt"}]}`, want: rejected},
		{name: "FastAPI wrong path", status: 404, body: `{"detail":"Not Found"}`, want: blocked(remedyAddress)},
		{name: "405", status: 405, body: `{"detail":"Method Not Allowed"}`, want: blocked(remedyAddress)},
		{name: "404 page", status: 404, body: page, want: blocked(remedyAddress)},
		{name: "404 text", status: 404, body: "404 page not found", want: blocked(remedyAddress)},
		{name: "404 empty", status: 404, want: blocked(remedyAddress)},
		{name: "502 page", status: 502, body: page, want: retry},
		{name: "502 text", status: 502, body: "upstream connect error", want: retry},
		{name: "503 empty", status: 503, want: retry},
		{name: "Cloudflare 524", status: 524, body: "error code: 524", want: retry},
		{name: "500 array", status: 500, body: `[1]`, want: retry},
		{name: "400 cut JSON", status: 400, body: `{"error":{"mess`, want: rejected},
		{name: "plain HTTP to HTTPS port", status: 400, body: "Client sent an HTTP request to an HTTPS server.\n", want: blocked(remedyAddress)},
		{name: "redirect", status: 302, header: headers("Location", "https://login.test/x?token=1"), want: blocked(remedyAddress)},
		{name: "redirect nowhere", status: 308, want: blocked(remedyAddress)},
		{name: "proxy wants credentials", status: 407, want: blocked(remedyProxy)},

		// x-should-retry.
		{name: "400 but retry", status: 400, header: headers("X-Should-Retry", "true"), want: retry},
		{name: "500 but no retry", status: 500, header: headers("X-Should-Retry", "false"), want: rejected},
		{name: "409 but no retry", status: 409, header: headers("X-Should-Retry", "false"), want: rejected},
		{name: "dead key stays dead", status: 401, header: headers("X-Should-Retry", "true"), want: blocked(remedyCredential)},
		{name: "limit is never the record's fault", status: 429, header: headers("X-Should-Retry", "false"), want: limited},
		{name: "overload is never the record's fault", status: 529, header: headers("X-Should-Retry", "false"), want: overloaded},
		{name: "broken 200 is never the record's fault", status: 200, header: headers("X-Should-Retry", "false"), body: "<p>", want: retry},
		{name: "odd value", status: 400, header: headers("X-Should-Retry", "maybe"), want: rejected},

		// Below HTTP.
		{name: "dns", err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x.test", IsNotFound: true}}, want: retry},
		{name: "dns timeout", err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}, want: retry},
		{name: "refused", err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, want: retry},
		{name: "reset", err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}, want: retry},
		{name: "closed", err: io.EOF, want: retry},
		{name: "timeout", err: fmt.Errorf("call: %w", context.DeadlineExceeded), want: retry},
		{name: "cut body", status: 200, err: io.ErrUnexpectedEOF, want: retry},
		{name: "cancelled", err: fmt.Errorf("call: %w", context.Canceled), want: Verdict{Kind: Cancelled}},
		{name: "cancelled while reading an error", status: 500, err: context.Canceled, want: Verdict{Kind: Cancelled}},
		{name: "unknown authority", err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, want: blocked(remedyCertificate)},
		{name: "HTTP server on HTTPS address", err: fmt.Errorf("call: %w", http.ErrSchemeMismatch), want: blocked(remedyPlainHTTP)},
		{name: "CONNECT refused", err: errors.New("Proxy Authentication Required"), want: blocked(remedyProxy)},
		{name: "TLS alert", err: errors.New("remote error: tls: internal error"), want: retry},
		{name: "body of a 401 cut", status: 401, err: io.ErrUnexpectedEOF, want: blocked(remedyCredential)},
		{name: "body of a 429 cut", status: 429, header: headers("Retry-After", "1"), err: io.ErrUnexpectedEOF, want: Verdict{Kind: RetryAfter, Pressure: Limited, Wait: time.Second}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := Classify(Answer{Status: row.status, Header: row.header, Body: []byte(row.body), Err: row.err, Now: now})
			if got.Status != row.status {
				t.Errorf("status %d, want %d as received", got.Status, row.status)
			}
			decision := Verdict{Kind: got.Kind, Wait: got.Wait, Pressure: got.Pressure, Reason: got.Reason, Remedy: got.Remedy}
			if diff := cmp.Diff(row.want, decision); diff != "" {
				t.Errorf("%s (-want +got):\n%s", got, diff)
			}
			if got.Kind != Answered && got.Message == "" {
				t.Error("nothing explains the verdict")
			}
		})
	}
}

// What a verdict says about an error is read from every shape, and holds no prompt.
func TestClassifyDescribes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		answer Answer
		want   Verdict
	}{
		{"envelope", Answer{Status: 400, Body: []byte(envelope("invalid_request_error", "too\nlong"))}, Verdict{Type: "invalid_request_error", Message: "too long", RequestID: "req_9"}},
		{"header before body", Answer{Status: 400, Header: headers("Request-Id", "req_h"), Body: []byte(envelope("t", "m"))}, Verdict{Type: "t", Message: "m", RequestID: "req_h"}},
		{"gateway's header", Answer{Status: 500, Header: headers("X-Oneapi-Request-Id", "20261")}, Verdict{Message: "empty body", RequestID: "20261"}},
		{"other gateway's header", Answer{Status: 500, Header: headers("X-Request-Id", "r")}, Verdict{Message: "empty body", RequestID: "r"}},
		{"answered", Answer{Status: 200, Header: headers("Request-Id", "req_1"), Body: []byte(goodMessage)}, Verdict{RequestID: "req_1"}},
		{"code", Answer{Status: 429, Body: []byte(coded("rate_limit_error", "ramp_limit_exceeded"))}, Verdict{Type: "rate_limit_error", Code: "ramp_limit_exceeded", Message: "m"}},
		{"page", Answer{Status: 502, Body: []byte("<html><title>Bad &amp; ugly</title>")}, Verdict{Message: `page titled "Bad & ugly"`}},
		{"page without title", Answer{Status: 502, Body: []byte("<Error/>")}, Verdict{Message: "a page in HTML or XML without a title"}},
		{"text", Answer{Status: 502, Body: []byte("upstream \x1b[31mgone\u202e\n")}, Verdict{Message: "upstream [31mgone"}},
		{"FastAPI keeps the prompt out", Answer{Status: 422, Body: []byte(`{"detail":[{"loc":["body",0],"msg":"bad","input":"PROMPT"}]}`)}, Verdict{Message: "body.0: bad"}},
		{"AWS", Answer{Status: 400, Body: []byte(`{"message":"Malformed input"}`)}, Verdict{Message: "Malformed input"}},
		{"unknown JSON keeps its content out", Answer{Status: 500, Body: []byte(`{"echo":"PROMPT"}`)}, Verdict{Message: "no error message in the body"}},
		{"cut JSON keeps its content out", Answer{Status: 500, Body: []byte(`{"echo":"PROMPT`)}, Verdict{Message: "JSON that is cut or broken"}},
		{"cut answer keeps its content out", Answer{Status: 200, Body: []byte(`{"content":"ANSWER`)}, Verdict{Type: "incomplete", Message: "HTTP 200 with 18 bytes that are not well-formed JSON"}},
		{"text answer keeps its content out", Answer{Status: 200, Body: []byte(`ANSWER`)}, Verdict{Type: "incomplete", Message: "HTTP 200 with 6 bytes that are not well-formed JSON"}},
		{"redirect without its query", Answer{Status: 307, Header: headers("Location", "https://u:p@login.test/in?token=1")}, Verdict{Message: "redirect to https://login.test/in"}},
		{"timeout", Answer{Err: context.DeadlineExceeded}, Verdict{Type: "timeout", Message: "context deadline exceeded"}},
		{"dns", Answer{Err: &net.DNSError{Err: "no such host", Name: "x.test"}}, Verdict{Type: "dns", Message: "lookup x.test: no such host"}},
		{"cut", Answer{Status: 200, Err: io.ErrUnexpectedEOF}, Verdict{Type: "incomplete", Message: "unexpected EOF"}},
		{"secret in an error", Answer{Status: 401, Secret: NewSecret("hunter2-hunter2"), Body: []byte(`{"error":"no such key: hunter2-hunter2!"}`)}, Verdict{Message: "no such key: [redacted]!"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.answer.Now = now
			got := Classify(row.answer)
			described := Verdict{Type: got.Type, Code: got.Code, Message: got.Message, RequestID: got.RequestID}
			if diff := cmp.Diff(row.want, described); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		header http.Header
		want   time.Duration
	}{
		{"none", nil, 0},
		{"seconds", headers("Retry-After", "12"), 12 * time.Second},
		{"fraction", headers("Retry-After", " 0.5 "), 500 * time.Millisecond},
		{"milliseconds first", headers("Retry-After-Ms", "1500.5", "Retry-After", "9"), 1500500 * time.Microsecond},
		{"broken milliseconds", headers("Retry-After-Ms", "soon", "Retry-After", "9"), 9 * time.Second},
		{"date", headers("Retry-After", "Sun, 22 Nov 2026 12:00:30 GMT"), 30 * time.Second},
		{"date in the past", headers("Retry-After", "Sun, 22 Nov 2026 11:00:00 GMT"), 0},
		{"date far ahead", headers("Retry-After", "Sun, 22 Nov 2099 12:00:00 GMT"), MaxWait},
		{"a day", headers("Retry-After", "86400"), MaxWait},
		{"overflow", headers("Retry-After", "1e300"), MaxWait},
		{"negative", headers("Retry-After", "-1"), 0},
		{"not a number", headers("Retry-After", "NaN"), 0},
		{"infinite", headers("Retry-After", "Inf"), 0},
		{"RFC 3339", headers("Retry-After", "2026-11-22T12:00:30Z"), 0},
		{"words", headers("Retry-After", "later"), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := retryAfter(row.header, now); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func ExampleClassify() {
	verdict := Classify(Answer{
		Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {"7"}},
		Body:   []byte(`{"type":"error","error":{"type":"rate_limit_error","message":"too many tokens a minute"}}`),
	})
	_, _ = fmt.Fprintln(os.Stdout, verdict, verdict.Pressure, verdict.Wait)
	// Output: retry after: HTTP 429: rate_limit_error: too many tokens a minute limited 7s
}
