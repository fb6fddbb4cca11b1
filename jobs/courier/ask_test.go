package courier_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// heard is what came of a question.
type heard struct {
	pieces []string
	err    error
}

// ask asks in the background.
func ask(t *testing.T, rdb redis.UniversalClient, cipher *courier.Cipher, run, text string) <-chan heard {
	t.Helper()
	ended := make(chan heard, 1)
	go func() {
		var h heard
		h.err = courier.Ask(t.Context(), rdb, cipher, run, json.RawMessage(text), func(piece []byte) error {
			h.pieces = append(h.pieces, string(piece))
			return nil
		})
		ended <- h
	}()
	return ended
}

// asked waits for the next question.
func asked(t *testing.T, owner *courier.Owner) *courier.Question {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		q, err := owner.Asked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if q != nil {
			return q
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("no question came")
		}
	}
}

// askAndAnswer has a question answered in two pieces, and another one answered that nobody reads to its end.
func askAndAnswer(t *testing.T, rdb redis.UniversalClient, owner *courier.Owner, run string, cipher *courier.Cipher, unread func()) {
	t.Helper()
	ctx := t.Context()
	ended := ask(t, rdb, cipher, run, `"a record?"`)
	q := asked(t, owner)
	if string(q.Text) != `"a record?"` {
		t.Errorf("the question is %s", q.Text)
	}
	for i, piece := range []string{"a record that succeeded", " and more"} {
		if err := owner.Answer(ctx, q, []byte(piece), i == 1); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"a record that succeeded", " and more"}, (<-ended).pieces); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	gone, leave := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() {
		left <- courier.Ask(gone, rdb, cipher, run, json.RawMessage(`1`), func([]byte) error { return nil })
	}()
	q = asked(t, owner)
	leave()
	<-left
	if err := owner.Answer(ctx, q, []byte("a record that succeeded"), false); err != nil {
		t.Fatal(err)
	}
	unread()
}

// An answer that nobody reads is gone after a minute, and at the end of the run at once.
func TestAnswerIsForgotten(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	owner := own(t, server.Client, "r1", 0)
	answers := func() []string { return server.Client.Keys(t.Context(), "bw:{r1}:answer:*").Val() }
	askAndAnswer(t, server.Client, owner, "r1", nil, func() {
		keys := answers()
		if len(keys) != 1 {
			t.Fatalf("Redis holds answers %q, want the one that nobody has read", keys)
		}
		if left := server.Client.PTTL(t.Context(), keys[0]).Val(); left <= 0 || left > time.Minute {
			t.Errorf("it lives for %s", left)
		}
	})
	if err := owner.Erase(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys := server.Client.Keys(t.Context(), "bw:{*").Val(); len(keys) > 0 {
		t.Errorf("after the run Redis holds %q", keys)
	}
}

// Who asks is told when there is nobody to answer, and when the run is encrypted with another key.
func TestAskNobody(t *testing.T) {
	t.Parallel()
	cipher, err := courier.NewCipher("a secret of enough bytes")
	if err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		if h := <-ask(t, rdb, nil, "r1", `1`); !errors.Is(h.err, courier.ErrNoRun) {
			t.Errorf("asked a run that is not there: %v", h.err)
		}
		owner := own(t, rdb, "r1", 0)
		if h := <-ask(t, rdb, cipher, "r1", `1`); !errors.Is(h.err, courier.ErrFormat) || !strings.Contains(h.err.Error(), "--encrypt-env") {
			t.Errorf("asked with another key: %v", h.err)
		}
		ended := ask(t, rdb, nil, "r1", `1`)
		q := asked(t, owner)
		if err := owner.Answer(t.Context(), q, []byte("half of it"), false); err != nil {
			t.Fatal(err)
		}
		if err := owner.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h := <-ended; !errors.Is(h.err, courier.ErrNoRun) || len(h.pieces) != 1 {
			t.Errorf("the coordinator went away: %q, %v", h.pieces, h.err)
		}
	})
}

// What is no question, of this version and under this key, is dropped, and the next one is taken.
func TestAskedPassesOverOthers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		owner := own(t, rdb, "r1", 0)
		defer owner.Close(t.Context())
		for _, junk := range []string{"", "\xff", "\x02junk"} {
			if err := rdb.RPush(t.Context(), "bw:{r1}:asks", junk).Err(); err != nil {
				t.Fatal(err)
			}
		}
		ended := ask(t, rdb, nil, "r1", `{"n":1}`)
		q := asked(t, owner)
		if err := owner.Answer(t.Context(), q, q.Text, true); err != nil {
			t.Fatal(err)
		}
		if h := <-ended; h.err != nil || len(h.pieces) != 1 || h.pieces[0] != `{"n":1}` {
			t.Errorf("heard %q, %v", h.pieces, h.err)
		}
	})
}
