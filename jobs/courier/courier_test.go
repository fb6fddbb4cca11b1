package courier_test

import (
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// onBoth runs a test on the embedded Redis and on a real one, and on Valkey where it is in the PATH.
func onBoth(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		embedded := courier.StartEmbedded()
		t.Cleanup(func() { embedded.Close() })
		test(t, embedded.Client())
	})
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		test(t, redistest.Start(t))
	})
	if _, err := exec.LookPath("valkey-server"); err != nil {
		return
	}
	t.Run("valkey-server", func(t *testing.T) {
		t.Parallel()
		test(t, redistest.StartServer(t, redistest.Options{Program: "valkey-server"}).Client)
	})
}

func request(record int64) jobs.Request {
	body := fmt.Appendf(nil, `{"record":%d}`, record)
	return jobs.Request{Record: record, Digest: jobs.DigestOf(body), Body: body, Attempts: 2, Calls: 3, Refusals: 1}
}

func own(t *testing.T, rdb redis.UniversalClient, run string, after uint32) *courier.Owner {
	t.Helper()
	owner, err := courier.Own(t.Context(), rdb, run, after, courier.OwnerOptions{Terms: courier.Terms{BaseURL: "http://api", MaxAttempts: 8}})
	if err != nil {
		t.Fatal(err)
	}
	return owner
}

// join serves a run and sends the hand-outs that it claims to a channel.
func join(t *testing.T, rdb redis.UniversalClient, run string) (*courier.Session, <-chan courier.HandOut) {
	t.Helper()
	claimed := make(chan courier.HandOut, 100)
	session, err := courier.Join(t.Context(), rdb, run, courier.SessionOptions{
		Worker: "w1", Poll: 5 * time.Millisecond, Serve: func(h courier.HandOut) { claimed <- h },
	})
	if err != nil {
		t.Fatal(err)
	}
	return session, claimed
}

// A hand-out reaches a worker as it was given, its results reach the coordinator, and acknowledged results are gone.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		owner := own(t, rdb, "r1", 0)
		session, claimed := join(t, rdb, "r1")
		requests := []jobs.Request{request(7), request(8)}
		n := owner.Next()
		if err := owner.HandOut(t.Context(), n, requests, courier.New); err != nil {
			t.Fatal(err)
		}
		handout := <-claimed
		if diff := cmp.Diff(courier.HandOut{Number: n, Requests: requests}, handout); diff != "" {
			t.Fatalf("hand-out changed on the way (-sent +claimed):\n%s", diff)
		}
		result := jobs.Result{
			Record: 7, Digest: requests[0].Digest, Status: jobs.Succeeded, Attempts: 1, Calls: 1,
			Message: []byte(`{"type":"message","x":"\u00e4"}`), FinishedAt: time.Unix(1, 5).UTC(), Latency: 3 * time.Second,
			Usage: jobs.Usage{Input: 3, Output: 4, CacheRead: 5, CacheWrite5m: 6, CacheWrite1h: 7}, StopReason: "end_turn", Model: "m",
		}
		returned := courier.Returned{Record: 8, Digest: requests[1].Digest, Attempts: 3, Earliest: time.Unix(9, 0).UTC(), Blocked: "why"}
		session.Deliver(courier.Delivery{Handout: n, Result: &result})
		session.Deliver(courier.Delivery{Handout: n, Returned: &returned})
		var got []courier.Delivery
		var last courier.Batch
		for len(got) < 2 {
			batch, err := owner.Read(t.Context(), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, batch.Deliveries...); !batch.Empty() {
				last = batch
			}
		}
		want := []courier.Delivery{{Handout: n, Result: &result}, {Handout: n, Returned: &returned}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("deliveries changed on the way (-sent +read):\n%s", diff)
		}
		if err := owner.Ack(t.Context(), &last, []courier.Number{n}); err != nil {
			t.Fatal(err)
		}
		if length := rdb.XLen(t.Context(), "bw:{r1}:results").Val(); length != 0 {
			t.Errorf("%d entries are left in the stream after acknowledgement", length)
		}
		if claims := rdb.HLen(t.Context(), "bw:{r1}:claims").Val(); claims != 0 {
			t.Errorf("%d claims are left of a complete hand-out", claims)
		}
		session.Close(t.Context())
		if err := errors.Join(owner.Erase(t.Context()), owner.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		if left := rdb.Keys(t.Context(), "*r1*").Val(); len(left) != 0 {
			t.Errorf("Redis still holds %v after Erase", left)
		}
	})
}

// A hand-out that is withdrawn before a worker claims it is never served; one that was claimed can't be withdrawn.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		owner := own(t, rdb, "r2", 0)
		first, second := owner.Next(), owner.Next()
		for i, n := range []courier.Number{first, second} {
			if err := owner.HandOut(t.Context(), n, []jobs.Request{request(int64(i))}, courier.New); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := owner.Withdraw(t.Context(), []courier.Number{first}); err != nil || !cmp.Equal(got, []courier.Number{first}) {
			t.Fatalf("withdrew %v, %v; want the first", got, err)
		}
		session, claimed := join(t, rdb, "r2")
		if h := <-claimed; h.Number != second {
			t.Errorf("claimed hand-out %d, which was withdrawn", h.Number)
		}
		if got, err := owner.Withdraw(t.Context(), []courier.Number{second}); err != nil || len(got) != 0 {
			t.Errorf("withdrew %v, %v after it was claimed", got, err)
		}
		session.Deliver(courier.Delivery{Handout: second, Returned: &courier.Returned{Record: 1}})
		session.Close(t.Context())
		if err := owner.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// Urgent work goes before work that was handed out earlier.
func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		owner := own(t, rdb, "r3", 0)
		var order []courier.Number
		for i := range 3 {
			n := owner.Next()
			order = append(order, n)
			if err := owner.HandOut(t.Context(), n, []jobs.Request{request(int64(i))}, []courier.Mode{courier.New, courier.New, courier.Again}[i]); err != nil {
				t.Fatal(err)
			}
		}
		session, claimed := join(t, rdb, "r3")
		var got []courier.Number
		for range 3 {
			h := <-claimed
			got = append(got, h.Number)
			session.Deliver(courier.Delivery{Handout: h.Number, Returned: &courier.Returned{Record: h.Requests[0].Record}})
		}
		if want := []courier.Number{order[2], order[0], order[1]}; !cmp.Equal(want, got) {
			t.Errorf("claimed in order %v, want the urgent one first: %v", got, want)
		}
		session.Close(t.Context())
		if err := owner.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A run has one owner; the next one has a later epoch, and hand-outs of the earlier one are void.
func TestOwnership(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		first := own(t, rdb, "r4", 3)
		if first.Epoch() != 4 {
			t.Errorf("epoch %d after 3, want 4", first.Epoch())
		}
		if _, err := courier.Own(t.Context(), rdb, "r4", 0, courier.OwnerOptions{Terms: courier.Terms{}}); !errors.Is(err, courier.ErrOwned) {
			t.Fatalf("second owner: %v, want ErrOwned", err)
		}
		if err := first.HandOut(t.Context(), first.Next(), []jobs.Request{request(1)}, courier.New); err != nil {
			t.Fatal(err)
		}
		if err := first.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := own(t, rdb, "r4", 0)
		if second.Epoch() != 5 {
			t.Errorf("epoch %d, want 5", second.Epoch())
		}
		session, claimed := join(t, rdb, "r4")
		n := second.Next()
		if err := second.HandOut(t.Context(), n, []jobs.Request{request(2)}, courier.New); err != nil {
			t.Fatal(err)
		}
		if h := <-claimed; h.Number != n {
			t.Errorf("claimed hand-out %d of epoch %d", h.Number, h.Number.Epoch())
		}
		session.Deliver(courier.Delivery{Handout: n, Returned: &courier.Returned{Record: 2}})
		session.Close(t.Context())
		if err := second.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A hand-out whose task comes while the coordinator's lease has run out, as after a suspended machine wakes up, is not
// lost: it is claimed once the lease is renewed.
func TestClaimAfterLeaseRanOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		owner := own(t, rdb, "r5", 0)
		session, claimed := join(t, rdb, "r5")
		if err := rdb.Del(t.Context(), "bw:{r5}:owner").Err(); err != nil { // as its time to live does
			t.Fatal(err)
		}
		n := owner.Next()
		if err := owner.HandOut(t.Context(), n, []jobs.Request{request(1)}, courier.New); err != nil {
			t.Fatal(err)
		}
		if h := <-claimed; h.Number != n {
			t.Errorf("claimed hand-out %d, want %d", h.Number, n)
		}
		session.Deliver(courier.Delivery{Handout: n, Returned: &courier.Returned{Record: 1}})
		session.Close(t.Context())
		if err := owner.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// The last that a coordinator says of its run is how it ended, unless another one has taken the run since.
func TestLastStatus(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		ctx := t.Context()
		said := func() string {
			view, err := courier.Look(ctx, rdb, "r1")
			if err != nil {
				t.Fatal(err)
			}
			return string(view.Status)
		}
		owner, err := courier.Own(ctx, rdb, "r1", 0, courier.OwnerOptions{Status: func() []byte { return []byte(`"blocked"`) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if got := said(); got != `"blocked"` {
			t.Errorf("the status is %s", got)
		}
		if left := rdb.PTTL(ctx, "bw:{r1}:status").Val(); left <= 0 {
			t.Errorf("it lives for %s", left)
		}
		next := own(t, rdb, "r1", owner.Epoch())
		defer next.Close(ctx)
		if err := rdb.Set(ctx, "bw:{r1}:status", `"next"`, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := owner.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if got := said(); got != `"next"` {
			t.Errorf("one who has lost the run said %s of it", got)
		}
	})
}
