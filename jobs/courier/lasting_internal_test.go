package courier

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// takeOver owns a run on an embedded Redis; the test ends it.
func takeOver(t *testing.T, rdb redis.UniversalClient, after uint32, terms Terms) *Owner {
	t.Helper()
	owner, err := Own(t.Context(), rdb, "r1", after, OwnerOptions{Terms: terms})
	if err != nil {
		t.Fatal(err)
	}
	return owner
}

// A worker goes on under a later coordinator with the same terms, and leaves a run whose terms changed, to join it anew.
func TestTermsChange(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		terms  Terms
		cipher *Cipher
		leaves bool
	}{
		"same":     {terms: Terms{BaseURL: "http://api", Limits: jobs.Limits{Concurrency: 100}}},
		"limits":   {terms: Terms{BaseURL: "http://api", Limits: jobs.Limits{Concurrency: 2}}, leaves: true},
		"attempts": {terms: Terms{BaseURL: "http://api", Limits: jobs.Limits{Concurrency: 100}, MaxAttempts: 3}, leaves: true},
		"key":      {terms: Terms{BaseURL: "http://api", Limits: jobs.Limits{Concurrency: 100}}, cipher: newCipher(t, testSecret), leaves: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := StartEmbedded()
				defer e.Close()
				owner := takeOver(t, e.Client(), 0, Terms{BaseURL: "http://api", Limits: jobs.Limits{Concurrency: 100}})
				var halted atomic.Bool
				session, err := Join(t.Context(), e.Client(), "r1", SessionOptions{
					Worker: "w1", Serve: func(HandOut) {}, Halt: func() { halted.Store(true) },
				})
				if err != nil {
					t.Fatal(err)
				}
				defer session.Close(t.Context())
				time.Sleep(10 * time.Second)
				if halted.Load() {
					t.Fatal("it left the run of a coordinator that goes on")
				}
				if err := owner.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				owner, err = Own(t.Context(), e.Client(), "r1", owner.Epoch(), OwnerOptions{Terms: test.terms, Cipher: test.cipher})
				if err != nil {
					t.Fatal(err)
				}
				defer owner.Close(t.Context())
				time.Sleep(10 * time.Second)
				if halted.Load() != test.leaves {
					t.Errorf("it left the run: %v, want %v", halted.Load(), test.leaves)
				}
			})
		})
	}
}

// A pause outlives the coordinator that it was meant for; a stop is over with it.
func TestWantOutlives(t *testing.T) {
	t.Parallel()
	for want, kept := range map[string]string{Pause: Pause, Stop: ""} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := StartEmbedded()
				defer e.Close()
				owner := takeOver(t, e.Client(), 0, Terms{})
				if err := Want(t.Context(), e.Client(), "r1", want); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if err := owner.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				owner = takeOver(t, e.Client(), owner.Epoch(), Terms{})
				defer owner.Close(t.Context())
				time.Sleep(2 * time.Second)
				told := ""
				select {
				case told = <-owner.Wants():
				default:
				}
				view, err := Look(t.Context(), e.Client(), "r1")
				if err != nil || view.Wanted != kept || told != kept {
					t.Errorf("Redis says %q and the next coordinator was told %q, want %q: %v", view.Wanted, told, kept, err)
				}
			})
		})
	}
}

// slowConn lets so many bytes a second in.
type slowConn struct {
	net.Conn
	perSecond int
}

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), 64<<10)])
	<-time.After(time.Duration(n) * time.Second / time.Duration(c.perSecond))
	return n, err
}

// A hand-out that takes longer to cross the worker's link than a reply may (5 s) is served, and counts as held on the way.
func TestSlowLink(t *testing.T) {
	t.Parallel()
	const size, perSecond = 4 << 20, 600 << 10
	server := redistest.StartServer(t, redistest.Options{})
	owner := takeOver(t, server.Client, 0, Terms{})
	defer owner.Close(t.Context())
	far := redis.NewClient(&redis.Options{
		Addr: server.Addr, DisableIdentity: true, Protocol: 2,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return slowConn{conn, perSecond}, err
		},
	})
	defer far.Close()
	served := make(chan HandOut, 10)
	session, err := Join(t.Context(), far, "r1", SessionOptions{Worker: "far", Serve: func(h HandOut) { served <- h }})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body) // never fails
	n := owner.Next()
	if err := owner.HandOut(t.Context(), n, []jobs.Request{{Body: body, Digest: jobs.DigestOf(body)}}, New); err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for heldOnTheWay := false; ; {
		select {
		case h := <-served:
			if h.Number != n || len(h.Requests) != 1 || len(h.Requests[0].Body) != size || !heldOnTheWay {
				t.Errorf("hand-out %d with %d requests was served, held before: %v", h.Number, len(h.Requests), heldOnTheWay)
			}
			session.Deliver(Delivery{Handout: n, Returned: &Returned{}})
			return
		case <-look.C:
			survey, err := owner.Survey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			heldOnTheWay = heldOnTheWay || slices.Contains(survey.Workers["far"].Held, n)
		case <-time.After(time.Minute):
			t.Fatal("it was not served in a minute")
		}
	}
}

// What could not be acknowledged, for the lease had run out, is not taken for acknowledged.
func TestAckWithoutLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := StartEmbedded()
		defer e.Close()
		owner := takeOver(t, e.Client(), 0, Terms{})
		defer owner.Close(t.Context())
		session, err := Join(t.Context(), e.Client(), "r1", SessionOptions{Worker: "w1", Serve: func(HandOut) {}})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close(t.Context())
		session.Deliver(Delivery{Handout: 1, Returned: &Returned{}})
		if err := session.Flushed(t.Context()); err != nil {
			t.Fatal(err)
		}
		batch, err := owner.Read(t.Context(), 0)
		if err != nil || len(batch.Deliveries) != 1 {
			t.Fatalf("%d deliveries: %v", len(batch.Deliveries), err)
		}
		left := func() int64 { return e.Client().XLen(t.Context(), owner.keys.results()).Val() }
		e.Client().Del(t.Context(), owner.keys.owner())
		if err := owner.Ack(t.Context(), &batch, nil); err == nil || left() != 1 {
			t.Errorf("without the lease: error %v, %d entries left", err, left())
		}
		time.Sleep(2 * time.Second) // it is taken up again
		if err := owner.Ack(t.Context(), &batch, nil); err != nil || left() != 0 {
			t.Errorf("with the lease: error %v, %d entries left", err, left())
		}
	})
}
