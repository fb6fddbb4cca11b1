package worker

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker/messages"
)

// When the worker's lease ran out others may have its records: what is in flight is finished, and nothing else of what it
// had claimed is called, whether it was ready, waiting for another try, suspected or still on its way to the queue.
func TestExpiredLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 2)
		r := f.announce("r", jobs.Limits{}, &api{answer: func(body string) messages.Reply {
			time.Sleep(10 * time.Second)
			if strings.Contains(body, "record-1-") {
				return failing()
			}
			return answered()
		}})
		s := f.session(r, 1)
		s.hand(false, requests(4)...)
		time.Sleep(time.Second) // records 0 and 1 are in flight
		s.hand(true, body(4, 0))
		time.Sleep(time.Second)
		s.options.Expired(1)
		synctest.Wait()
		s.hand(false, body(5, 0)) // claimed before
		now := courier.HandOut{Lease: 1}
		b := body(6, 0)
		now.Requests = append(now.Requests, jobs.Request{Record: 6, Digest: jobs.DigestOf(b), Body: b})
		s.handOut(now)
		time.Sleep(time.Minute)

		var called []string
		for _, c := range r.api.of("") {
			called = append(called, c.body[strings.Index(c.body, "record"):strings.Index(c.body, "-\"")])
		}
		slices.Sort(called)
		if diff := cmp.Diff([]string{"record-0", "record-1", "record-6"}, called); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		var outcomes []string
		for _, line := range s.story() {
			if strings.HasPrefix(line, "re") {
				outcomes = append(outcomes, line)
			}
		}
		slices.Sort(outcomes)
		if diff := cmp.Diff([]string{
			"result 0", "result 6", "returned 1", "returned 2", "returned 3", "returned 4", "returned 5",
		}, outcomes); diff != "" {
			t.Errorf("what came back (-want +got):\n%s", diff)
		}
		f.worker.Drain(t.Context())
	})
}
