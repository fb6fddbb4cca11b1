package coordinator

import (
	"testing"

	"github.com/batchwright/batchwright/jobs/courier"
)

// A record that waits in its worker after a call, alone, is not blamed when another one kills that worker (G6: innocents
// never fail as poison).
func TestWaitingSuspectIsInnocent(t *testing.T) {
	t.Parallel()
	const innocent, guilty = int64(0), int64(1)
	r := &Run{
		prepared:    prepared{manifest: &Manifest{ChunkRecords: 64}},
		outstanding: map[int64]*pending{}, handouts: map[courier.Number]*handout{},
	}
	r.changed.L = &r.mu
	r.suspicion = suspicion{alone: map[int64]int{}, before: map[int64]bool{}, began: map[int64]bool{}}
	for n := courier.Number(1); n <= poisonDeaths; n++ {
		for _, record := range []int64{innocent, guilty} {
			r.outstanding[record] = &pending{number: record, handout: n}
		}
		r.handouts[n] = &handout{left: 2, mode: courier.Alone, order: []int64{innocent, guilty}}
		r.note(courier.News{Handout: n, Record: innocent})
		if _, flying := r.suspicion.began[innocent]; !flying {
			t.Fatal("a call that began is not noted")
		}
		r.note(courier.News{Handout: n, Record: innocent, Ended: true})
		r.note(courier.News{Handout: n, Record: guilty})
		r.suspectAlone(map[courier.Number]bool{n: true})
	}
	if got := r.suspicion.alone; got[innocent] != 0 || got[guilty] != poisonDeaths {
		t.Errorf("deaths alone: %v", got)
	}
	if _, flying := r.suspicion.began[innocent]; flying {
		t.Error("a call that ended is still noted as in flight")
	}
}
