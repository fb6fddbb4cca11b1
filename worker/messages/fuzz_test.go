package messages

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/batchwright/batchwright/jobs"
)

// Whatever a server sends, there is one valid verdict, with bounded waits and texts, and without the secret.
func FuzzClassify(f *testing.F) {
	f.Add(200, "", "", "", "", []byte(goodMessage), false)
	f.Add(429, "7", "", "false", "req_1", []byte(envelope("rate_limit_error", "slow")), false)
	f.Add(529, "", "1e99", "true", "", []byte(`{"error":{"code":"529","details":{"error_code":1},"metadata":[]}}`), false)
	f.Add(503, "Sun, 22 Nov 2099 12:00:00 GMT", "", "", "", []byte("<title>x"), false)
	f.Add(422, "", "", "", "", []byte(`{"detail":[{"loc":[[]],"msg":1},2]}`), false)
	f.Add(301, "", "", "", "http://[", []byte("sk-fuzz-secret-0123456789"), true)
	const secret = "sk-fuzz-secret-0123456789"
	f.Fuzz(func(t *testing.T, status int, after, afterMs, should, id string, body []byte, failed bool) {
		a := Answer{Status: status, Body: body, Now: now, Secret: NewSecret(secret), Header: http.Header{
			"Retry-After": {after}, "Retry-After-Ms": {afterMs}, "X-Should-Retry": {should}, "Request-Id": {id}, "Location": {id},
		}}
		if failed {
			a.Err = errors.New(string(body))
		}
		v := Classify(a)
		if v.Kind < Answered || v.Kind > Cancelled || v.Kind == Cancelled {
			t.Errorf("kind %s", v.Kind)
		}
		if v.Wait < 0 || v.Wait > MaxWait || v.Wait != 0 && v.Kind != Retry && v.Kind != RetryAfter {
			t.Errorf("wait of %s: %s", v.Kind, v.Wait)
		}
		if (v.Kind == RetryAfter) != (v.Pressure != NoPressure) || (v.Kind == Blocked) != (v.Remedy != "") ||
			(v.Kind == Rejected) != (v.Reason == jobs.ReasonRejected || v.Reason == jobs.ReasonTooLarge) {
			t.Errorf("fields do not fit the kind: %+v", v)
		}
		if (v.Kind == Answered) != (status == http.StatusOK && !failed && messageProblem(body) == "") {
			t.Errorf("%s for %d %q", v.Kind, status, body)
		}
		for _, text := range []string{v.Type, v.Code, v.Message, v.RequestID} {
			if len(text) > maxMessageBytes || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\t\x00\x1b") {
				t.Errorf("not a short line: %q", text)
			}
			if strings.Contains(text, secret) {
				t.Errorf("shows the secret: %q", text)
			}
		}
	})
}

func FuzzParseRateLimits(f *testing.F) {
	f.Add("1000", "999", "2026-11-22T12:01:00Z")
	f.Add("NaN", "-1", "1e9")
	f.Fuzz(func(t *testing.T, limit, remaining, reset string) {
		w := ParseRateLimits(http.Header{
			"Anthropic-Ratelimit-Tokens-Limit":     {limit},
			"Anthropic-Ratelimit-Tokens-Remaining": {remaining},
			"Anthropic-Ratelimit-Tokens-Reset":     {reset},
		}, now).Tokens
		if w.Limit < 0 || w.Remaining < 0 || w.Limit > maxCount || w.Remaining > maxCount {
			t.Errorf("out of bounds: %+v", w)
		}
		if !w.Reset.IsZero() && (w.Reset.Before(now) || w.Reset.Sub(now) > 24*time.Hour) {
			t.Errorf("reset at %s", w.Reset)
		}
	})
}
