package courier

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A worker whose lease may be over, because it was buried, forgotten or late, learns of it before it may call again.
func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	embedded := StartEmbedded()
	t.Cleanup(func() { embedded.Close() })
	rdb := embedded.Client()
	o, err := Own(t.Context(), rdb, "r1", 0, OwnerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close(t.Context())
	var expired []int
	var s *Session
	s, err = Join(t.Context(), rdb, "r1", SessionOptions{Worker: "w1", Serve: func(HandOut) {}, Expired: func(leases int) map[Number][]int64 {
		expired = append(expired, leases)
		if time.Since(*s.renewed.Load()) >= workerStale && s.MayCall() {
			t.Error("calls may start before the end of the lease is known")
		}
		return map[Number][]int64{5: {7, 8, 9, 12}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	s.stop() // from here it renews when the test does
	s.wait.Wait()
	bury := func(count uint64) bool {
		t.Helper()
		buried, err := o.Bury(t.Context(), "w1", count)
		if err != nil {
			t.Fatal(err)
		}
		return buried
	}
	renew := func() {
		t.Helper()
		if err := s.renewOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	renew()
	if bury(s.count - 1) {
		t.Error("a worker was buried that has renewed its lease meanwhile")
	}
	renew()
	if len(expired) > 0 {
		t.Errorf("expired %v while the lease was kept", expired)
	}
	if !bury(s.count) {
		t.Error("a worker whose beat stands still was not buried")
	}
	renew()
	renew()
	if want := []int{1}; !slices.Equal(expired, want) {
		t.Errorf("expired %v after it was buried, want %v", expired, want)
	}
	past := time.Now().Add(-workerStale)
	s.renewed.Store(&past)
	if s.MayCall() {
		t.Error("calls may start on a stale lease")
	}
	renew()
	if want := []int{1, 2}; !slices.Equal(expired, want) {
		t.Errorf("expired %v after it was late, want %v", expired, want)
	}
	if !s.MayCall() {
		t.Error("no call may start on a fresh lease")
	}
	// What it has in flight is claimed again.
	survey, err := o.Survey(t.Context())
	want := map[Number]Claim{5: {Worker: "w1", Records: []Range{{7, 9}, {12, 12}}}}
	if diff := cmp.Diff(want, survey.Claims); err != nil || diff != "" {
		t.Errorf("claims, %v (-want +got):\n%s", err, diff)
	}
}
