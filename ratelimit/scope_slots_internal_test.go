package ratelimit

import (
	"fmt"
	"testing"
	"time"
)

// A worker that waits for a slot gets one in the end, though another has always more to do than all slots.
func TestScriptSlotsAreShared(t *testing.T) {
	t.Parallel()
	b := newFake(t)
	limits := requests(60_000, 4)
	hands := []*hand{b.hand(t, "a", limits), b.hand(t, "b", limits)}
	var got [2]int
	for turn := range 100 {
		h := hands[turn%2]
		h.next.InFlight = 0 // the calls of the last turn have ended
		r := h.exchange(wants(fmt.Sprint("r", turn%2), 8, one))
		n := min(int(r.Grant[Requests]), r.Slots)
		h.start(n, one)
		got[turn%2] += n
		b.advance(50 * time.Millisecond)
	}
	if got[0] < got[1]/2 || got[1] < got[0]/2 {
		t.Errorf("%d and %d calls of two workers that share 4 slots", got[0], got[1])
	}
}
