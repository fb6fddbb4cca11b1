package messages

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseRateLimits(t *testing.T) {
	t.Parallel()
	const requests = "Anthropic-Ratelimit-Requests-"
	for _, row := range []struct {
		name   string
		header http.Header
		want   RateLimits
	}{
		{name: "none"},
		{
			name: "all of the service's",
			header: headers(
				"anthropic-ratelimit-requests-limit", "1000", "anthropic-ratelimit-requests-remaining", "999",
				"anthropic-ratelimit-requests-reset", "2026-11-22T12:00:01Z",
				"anthropic-ratelimit-tokens-limit", "2400000", "anthropic-ratelimit-tokens-remaining", "2300000",
				"anthropic-ratelimit-input-tokens-limit", "2000000", "anthropic-ratelimit-input-tokens-remaining", "0",
				"anthropic-ratelimit-input-tokens-reset", "2026-11-22T13:01:00.5+01:00",
				"anthropic-ratelimit-output-tokens-limit", "400000",
			),
			want: RateLimits{
				Requests:     Window{Limit: 1000, Remaining: 999, HasRemaining: true, Reset: now.Add(time.Second)},
				Tokens:       Window{Limit: 2400000, Remaining: 2300000, HasRemaining: true},
				InputTokens:  Window{Limit: 2000000, HasRemaining: true, Reset: now.Add(60500 * time.Millisecond)},
				OutputTokens: Window{Limit: 400000},
			},
		},
		{name: "space around", header: headers(requests+"Limit", " 5 "), want: RateLimits{Requests: Window{Limit: 5}}},
		{name: "negative", header: headers(requests+"Limit", "-5", requests+"Remaining", "-1")},
		{name: "fractions and words", header: headers(requests+"Limit", "1e3", requests+"Remaining", "NaN")},
		{name: "huge", header: headers(requests+"Limit", "9223372036854775807", requests+"Remaining", "99999999999999999999")},
		{name: "reset in the past", header: headers(requests+"Reset", "2026-11-22T11:59:59Z")},
		{name: "reset years ahead", header: headers(requests+"Reset", "2036-11-22T12:00:00Z")},
		{name: "reset in seconds", header: headers(requests+"Reset", "60")},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(row.want, ParseRateLimits(row.header, now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
