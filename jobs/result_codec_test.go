package jobs

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A result is read back as it was written, whatever its texts hold.
func TestResultRoundTrip(t *testing.T) {
	t.Parallel()
	finished := time.Date(2026, 11, 22, 20, 0, 0, 5, time.UTC)
	for name, r := range map[string]Result{
		"least": {Record: 0, Status: Failed, FinishedAt: finished},
		"whole": {
			Record: 1 << 40, ID: "a \"b\" \\ \n ü", Digest: DigestOf([]byte("x")), Round: 2, Status: Succeeded, Reason: ReasonInvalid,
			Error: `has ,"message":{"x":1} in it`, HTTPStatus: 529, Message: []byte(`{"type":"message","a":",\"message\":","b":{"c":[1]}}`),
			Attempts: 3, Calls: 4, Latency: 5 * time.Second, RequestID: "req", FinishedAt: finished, StopReason: "end_turn",
			Model: "m", Usage: Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5}, Cost: 6, Priced: true,
		},
		"a message with a member called message": {
			Record: 3, Status: Succeeded, FinishedAt: finished, Message: []byte(`{"x":1,"message":{"y":2}}`),
		},
		"priced at nothing": {Record: 2, Status: Succeeded, FinishedAt: finished, Priced: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseResult(AppendResult(nil, &r))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r, got); diff != "" {
				t.Errorf("read back otherwise (-written +read):\n%s", diff)
			}
		})
	}
	spread := Result{Record: 1, Status: Succeeded, FinishedAt: finished, Message: []byte("{\n  \"a\": \"b c\"\n}")}
	if got, err := ParseResult(AppendResult(nil, &spread)); err != nil || string(got.Message) != `{"a":"b c"}` {
		t.Errorf("a message over several lines is kept as %s, %v", got.Message, err)
	}
	for _, text := range []string{``, `{}`, `[]`, `{"record":1}`, `{"record":1,"status":"maybe"}`, `{"record":1,"status":"failed","digest":"zz"}`} {
		if r, err := ParseResult([]byte(text)); err == nil {
			t.Errorf("%s was read as %+v", text, r)
		}
	}
}
