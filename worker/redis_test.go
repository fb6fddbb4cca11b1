package worker

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/messages"
)

// onBoth runs a test on the embedded Redis and on a real one.
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
}

// desk is a coordinator's end of a run that hands out again what comes back.
type desk struct {
	t       *testing.T
	owner   *courier.Owner
	results map[int64]int
}

func newDesk(t *testing.T, rdb redis.UniversalClient, run string, cipher *courier.Cipher) *desk {
	t.Helper()
	owner, err := courier.Own(t.Context(), rdb, run, 0, courier.OwnerOptions{
		Terms: courier.Terms{BaseURL: "http://api", MaxAttempts: 8}, Cipher: cipher,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t, owner, make(map[int64]int)}
}

func (d *desk) handOut(mode courier.Mode, first, n int) {
	d.t.Helper()
	var batch []jobs.Request
	for i := range n {
		b := body(first+i, 0)
		batch = append(batch, jobs.Request{Record: int64(first + i), Digest: jobs.DigestOf(b), Body: b})
	}
	if err := d.owner.HandOut(d.t.Context(), d.owner.Next(), batch, mode); err != nil {
		d.t.Error(err)
	}
}

// answer reads deliveries until n records have a result.
func (d *desk) answer(n int) {
	d.t.Helper()
	for end := time.Now().Add(time.Minute); len(d.results) < n; {
		batch, err := d.owner.Read(d.t.Context(), 100*time.Millisecond)
		if err != nil {
			d.t.Error(err)
			return
		}
		for _, one := range batch.Deliveries {
			if one.Result != nil {
				d.results[one.Record()]++
				continue
			}
			if one.Returned.Attempts != 0 || one.Returned.Calls != 0 {
				d.t.Errorf("record %d came back after %d attempts and %d calls", one.Record(), one.Returned.Attempts, one.Returned.Calls)
			}
			d.handOut(courier.Again, int(one.Record()), 1)
		}
		if time.Now().After(end) {
			d.t.Errorf("%d of %d records have a result after a minute", len(d.results), n)
			return
		}
	}
}

func serve(t *testing.T, rdb redis.UniversalClient, a *api, cipher *courier.Cipher) *Worker {
	t.Helper()
	w, err := Start(t.Context(), rdb, Options{
		Slots: 8, Poll: 20 * time.Millisecond, Cipher: cipher,
		Caller: func(courier.Terms) (Caller, error) { return a, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// One worker serves several runs over Redis, encrypted, suspects among them, finds one that begins later, and leaves no
// trace.
func TestServesRunsOnRedis(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		cipher, err := courier.NewCipher("a key for this test alone")
		if err != nil {
			t.Fatal(err)
		}
		a := taking(time.Millisecond)
		first := newDesk(t, rdb, "first", cipher)
		first.handOut(courier.New, 0, 100)
		w := serve(t, rdb, a, cipher)
		second := newDesk(t, rdb, "second", cipher)
		second.handOut(courier.New, 1000, 100)
		second.handOut(courier.Alone, 2000, 3)
		var both sync.WaitGroup
		both.Go(func() { first.answer(100) })
		both.Go(func() { second.answer(103) })
		both.Wait()
		survey, err := second.owner.Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if beat, there := survey.Workers[w.name]; !there || beat.Slots != 8 {
			t.Errorf("workers of the run: %+v", survey.Workers)
		}
		w.Drain(t.Context())
		if survey, err = second.owner.Survey(t.Context()); err != nil || len(survey.Workers) != 0 {
			t.Errorf("after the drain: %+v, %v", survey.Workers, err)
		}
		if calls := len(a.of("")); calls != 203 {
			t.Errorf("%d calls for 203 records", calls)
		}
		for _, d := range []*desk{first, second} {
			if err := d.owner.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// Workers that are replaced one after the other under load repeat no call.
func TestRollingRestartRepeatsNoCall(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		const records = 1500
		began := make(chan struct{}, records+100)
		a := &api{answer: func(string) messages.Reply {
			began <- struct{}{}
			<-time.After(10 * time.Millisecond)
			return answered()
		}}
		d := newDesk(t, rdb, "rolled", nil)
		for first := 0; first < records; first += 50 {
			d.handOut(courier.New, first, 50)
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			d.answer(records)
		}()
		workers := []*Worker{serve(t, rdb, a, nil), serve(t, rdb, a, nil)}
		for range 4 {
			for range 200 {
				select {
				case <-began:
				case <-answered:
				}
			}
			workers[0].Drain(t.Context())
			workers = append(workers[1:], serve(t, rdb, a, nil))
		}
		<-answered
		for _, w := range workers {
			w.Drain(t.Context())
		}
		for record, results := range d.results {
			if calls := len(a.of(fmt.Sprintf("record-%d-", record))); results != 1 || calls != 1 {
				t.Errorf("record %d: %d calls and %d results", record, calls, results)
			}
		}
		if err := d.owner.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
