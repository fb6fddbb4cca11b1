package coordinator

import (
	"testing"

	"github.com/batchwright/batchwright/jobs"
)

// A job whose first records are all refused alike is blocked, also when it is taken up again; any other job is not.
func TestSameFailure(t *testing.T) {
	t.Parallel()
	failed := func(reason jobs.Reason, status int) jobs.Result {
		return jobs.Result{Status: jobs.Failed, Reason: reason, HTTPStatus: status, Calls: 1}
	}
	for name, test := range map[string]struct {
		first, others jobs.Result // the first record's result, and that of 19 more
		blocked       bool
	}{
		"400":                   {failed(jobs.ReasonRejected, 400), failed(jobs.ReasonRejected, 400), true},
		"413":                   {failed(jobs.ReasonTooLarge, 413), failed(jobs.ReasonTooLarge, 413), true},
		"different 4xx":         {failed(jobs.ReasonRejected, 422), failed(jobs.ReasonRejected, 400), false},
		"one answered":          {jobs.Result{Status: jobs.Succeeded, Calls: 1}, failed(jobs.ReasonRejected, 400), false},
		"over the rate limit":   {failed(jobs.ReasonTooLarge, 429), failed(jobs.ReasonTooLarge, 429), false},
		"server errors":         {failed(jobs.ReasonExhausted, 500), failed(jobs.ReasonExhausted, 500), false},
		"19, and a broken line": {jobs.Result{Status: jobs.Failed, Reason: jobs.ReasonBadInput}, failed(jobs.ReasonRejected, 400), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var same, resumed sameFailure
			var tally Tally
			for i := range sameFailureAfter {
				result := test.others
				if i == 0 {
					result = test.first
				}
				same.add(&result)
				tally.add(&result)
			}
			if why := same.verdict(false); (why != "") != test.blocked {
				t.Errorf("verdict %q, want blocked %v", why, test.blocked)
			}
			if why := same.verdict(true); why != "" {
				t.Errorf("verdict %q although failures are accepted", why)
			}
			if resumed.resume(tally); test.blocked && resumed.verdict(false) == "" {
				t.Error("taken up again, the run is not blocked")
			}
		})
	}
}
