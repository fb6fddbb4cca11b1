package ratelimit

import (
	"fmt"
	"testing"
	"time"
)

// A run that has had less goes before one that has had more, though that one's worker asks first.
func TestScriptRunsInTurn(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		limits := requests(60, 0)
		limits.Burst = amounts{4}
		a, other := b.hand(t, "a", limits), b.hand(t, "b", limits)
		a.exchange(wants("had", 4, one))
		a.start(4, one)
		if r := other.exchange(wants("new", 2, one)); r.Grant[Requests] != 0 || r.Bound != BoundByRequests {
			t.Fatalf("%v granted of an empty bucket, bound by %q", r.Grant, r.Bound)
		}
		had := wants("had", 4, one)
		had.Tokens = 4 * one[Tokens]
		a.exchange(had)
		had.Tokens = 0
		b.advance(1100 * time.Millisecond)
		if r := a.exchange(had); r.Grant[Requests] != 0 {
			t.Errorf("%v granted to the run that has had more, while another waits; want none", r.Grant)
		}
		if r := other.exchange(wants("new", 2, one)); r.Grant[Requests] != 1 {
			t.Errorf("%v granted to the run that has had nothing, want what came in", r.Grant)
		}
	})
}

// Runs share by weight in tokens, each in a worker of its own. One that was idle does not catch up.
func TestScriptRunsShareByWeight(t *testing.T) {
	t.Parallel()
	each := func(tokens float64) amounts { return amounts{1, tokens, 0, tokens} }
	tests := map[string]struct {
		weights []float64
		each    []amounts
	}{
		"alike":               {[]float64{1, 1}, []amounts{each(100), each(100)}},
		"3 to 1":              {[]float64{3, 1}, []amounts{each(100), each(100)}},
		"1 to 2 to 5":         {[]float64{1, 2, 5}, []amounts{each(100), each(100), each(100)}},
		"large beside small":  {[]float64{1, 1}, []amounts{each(400), each(50)}},
		"3 to 1, large first": {[]float64{3, 1}, []amounts{each(300), each(50)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFake(t)
			limits := settings{Version: 1, Rate: amounts{0, 120_000}, Burst: amounts{0, 1000}} // 2,000 a second
			hands, got, pending := make([]*hand, len(tt.weights)), make([]float64, len(tt.weights)), make([]float64, len(tt.weights))
			for i := range hands {
				hands[i] = b.hand(t, fmt.Sprint("w", i), limits)
			}
			for turn := range 300 { // half a minute
				b.advance(100 * time.Millisecond / time.Duration(len(hands)))
				i := turn % len(hands)
				d := demand{ID: fmt.Sprint("r", i), Weight: tt.weights[i], Calls: 100, Each: tt.each[i], Tokens: pending[i]}
				n := hands[i].exchange(d).Grant[Input] / tt.each[i][Input]
				hands[i].start(int(n), tt.each[i])
				pending[i] = n * tt.each[i][Input]
				got[i] += pending[i]
			}
			for i := range got {
				want := got[0] * tt.weights[i] / tt.weights[0]
				if got[i] < 0.9*want || got[i] > 1.1*want {
					t.Errorf("tokens %.0f by weights %v, want them in that ratio", got, tt.weights)
					break
				}
			}
		})
	}
}

// However many wait, none of the workers gets what another holds: level and what is held are never more than the bucket.
func TestScriptManyWorkersWithoutSlots(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		limits := requests(2400, 0) // 20 in the bucket
		sum := 0.0
		for i := range 40 {
			r := b.hand(t, fmt.Sprint("w", i), limits).exchange(wants("r", 3, one))
			sum += r.Grant[Requests]
			if level, held := b.level(t); level[Requests]+held[Requests] > 20+1e-6 {
				t.Errorf("level %v and held %v are more than the bucket of 20", level, held)
			}
		}
		if sum > 20 {
			t.Errorf("40 workers were granted %v calls of 20", sum)
		}
	})
}
