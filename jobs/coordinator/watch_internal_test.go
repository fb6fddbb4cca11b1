package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/jobs/courier"
)

// seenAt is a survey at a moment of a table's story.
type seenAt struct {
	at        time.Duration
	beats     map[string]uint64 // worker → count of renewals
	held      map[string][]courier.Number
	claims    map[courier.Number]string
	unclaimed []courier.Number
	queued    int64
	end       courier.Position
	journaled courier.Position
}

func (s *seenAt) survey() *courier.Survey {
	survey := &courier.Survey{
		Workers: map[string]courier.Beat{}, Claims: map[courier.Number]courier.Claim{}, Unclaimed: s.unclaimed,
		Queued: s.queued, End: s.end,
	}
	for worker, count := range s.beats {
		survey.Workers[worker] = courier.Beat{Count: count, Held: s.held[worker]}
	}
	for n, worker := range s.claims {
		survey.Claims[n] = courier.Claim{Worker: worker}
	}
	return survey
}

// quarters repeats a sight four times a second from one moment to another, as a coordinator looks.
func quarters(from, to time.Duration, s seenAt) []seenAt {
	var story []seenAt
	for at := from; at < to; at += lookEvery {
		s.at = at
		story = append(story, s)
	}
	return story
}

const second = time.Second

// What a coordinator concludes from what it sees, told as stories about hand-out 7 of epoch 0.
func TestWatch(t *testing.T) {
	t.Parallel()
	const n = courier.Number(7)
	claimed := map[courier.Number]string{n: "w"}
	holds := map[string][]courier.Number{"w": {n}}
	silent := seenAt{beats: map[string]uint64{"w": 1}, held: holds, claims: claimed}
	for _, test := range []struct {
		name  string
		story []seenAt
		epoch uint32
		want  given // all looks together
		not   time.Duration
	}{
		{"a worker that is silent for 12 s is dead", quarters(0, 13*second, silent), 0, given{Died: []courier.Number{n}}, 12 * second},
		{"one that is silent for less is not", quarters(0, 11*second, silent), 0, given{}, 0},
		{"one that beats again in time is not", slices.Concat(quarters(0, 11*second, silent),
			quarters(11*second, 22*second, seenAt{beats: map[string]uint64{"w": 2}, held: holds, claims: claimed})), 0, given{}, 0},
		{
			"after a gap in looking everybody gets a new 12 s", slices.Concat(quarters(0, 8*second, silent), quarters(13*second, 24*second, silent)),
			0,
			given{},
			0,
		},
		{
			"results that it delivered come first", slices.Concat(
				quarters(0, 20*second, seenAt{beats: map[string]uint64{"w": 1}, held: holds, claims: claimed, end: "5-0", journaled: "4-9"})),
			0,
			given{},
			0,
		},
		{
			"and then its records go out again", slices.Concat(
				quarters(0, 20*second, seenAt{beats: map[string]uint64{"w": 1}, held: holds, claims: claimed, end: "5-0", journaled: "4-9"}),
				quarters(20*second, 21*second, seenAt{beats: map[string]uint64{"w": 1}, held: holds, claims: claimed, end: "6-0", journaled: "5-0"})),
			0,
			given{Died: []courier.Number{n}},
			20 * second,
		},
		{"a claim that its worker does not name in the next two beats is an orphan", []seenAt{
			{at: 0, beats: map[string]uint64{"w": 1}, claims: claimed},
			{at: 3 * second, beats: map[string]uint64{"w": 2}, claims: claimed},
			{at: 6 * second, beats: map[string]uint64{"w": 3}, claims: claimed},
			{at: 7 * second, beats: map[string]uint64{"w": 3}, claims: claimed},
		}, 0, given{Lost: []courier.Number{n}}, 6 * second},
		{"one that it names then is none", []seenAt{
			{at: 0, beats: map[string]uint64{"w": 1}, claims: claimed},
			{at: 3 * second, beats: map[string]uint64{"w": 2}, held: holds, claims: claimed},
			{at: 6 * second, beats: map[string]uint64{"w": 3}, held: holds, claims: claimed},
			{at: 7 * second, beats: map[string]uint64{"w": 3}, held: holds, claims: claimed},
		}, 0, given{}, 0},
		{"what Redis forgot and nobody names for 12 s is lost", quarters(0, 13*second, seenAt{}), 0, given{Lost: []courier.Number{n}}, 12 * second},
		{"what a worker names again after Redis forgot is not", slices.Concat(quarters(0, 3*second, seenAt{}),
			quarters(3*second, 9*second, seenAt{beats: map[string]uint64{"w": 2}, held: holds})), 0, given{}, 0},
		{"unclaimed with tasks in the queue it waits", quarters(0, 60*second, seenAt{unclaimed: []courier.Number{n}, queued: 1}), 0, given{}, 0},
		{
			"unclaimed with no task in the queue its task is lost", quarters(0, 5*second+2*lookEvery, seenAt{unclaimed: []courier.Number{n}}), 0,
			given{Stuck: []courier.Number{n}},
			5 * second,
		},
		{
			"unclaimed under an epoch that is over it is void", quarters(0, second/4, seenAt{unclaimed: []courier.Number{n}, queued: 1}), 1,
			given{Stuck: []courier.Number{n}},
			0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, begin := newWatch(), time.Now()
			var got given
			out := map[courier.Number]bool{n: false}
			for i := range test.story {
				s := &test.story[i]
				f := w.look(begin.Add(s.at), s.survey(), out, test.epoch, s.journaled)
				g := givenUp(&f)
				if len(g.all()) > 0 && s.at < test.not {
					t.Errorf("given up after %s, too early", s.at)
				}
				for _, n := range g.all() {
					delete(out, n)
				}
				got.Died, got.Lost, got.Stuck = append(got.Died, g.Died...), append(got.Lost, g.Lost...), append(got.Stuck, g.Stuck...)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// given is what findings give up, and for what reason.
type given struct{ Died, Lost, Stuck []courier.Number }

func givenUp(f *findings) given {
	g := given{Lost: f.Lost, Stuck: f.Stuck}
	for _, d := range f.Dead {
		g.Died = append(g.Died, d.handouts...)
	}
	return g
}

func (g *given) all() []courier.Number { return slices.Concat(g.Died, g.Lost, g.Stuck) }

// An older hand-out whose task is lost does not wait until the queue is empty: later ones are claimed before it.
func TestWatchOvertaken(t *testing.T) {
	t.Parallel()
	w, begin := newWatch(), time.Now()
	out := map[courier.Number]bool{3: false, 4: false}
	s := seenAt{
		beats: map[string]uint64{"w": 1}, held: map[string][]courier.Number{"w": {4}}, claims: map[courier.Number]string{4: "w"},
		unclaimed: []courier.Number{3}, queued: 9,
	}
	for at := time.Duration(0); at <= unclaimedFor; at += lookEvery {
		s.beats["w"]++
		f := w.look(begin.Add(at), s.survey(), out, 0, "")
		if stuck := len(f.Stuck) > 0; stuck != (at >= unclaimedFor) {
			t.Errorf("after %s stuck: %v", at, f.Stuck)
		}
	}
}

// Whatever is seen: a hand-out that a living worker names is never given up, and none is given up twice. One of a dead
// worker always is, soon after its timeout.
func TestWatchProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, now := newWatch(), time.Now()
		out := map[courier.Number]bool{}
		for n := range courier.Number(6) {
			out[n+1] = n%2 == 0
		}
		counts := map[string]uint64{"a": 1, "b": 1}
		gone := map[courier.Number]bool{}
		for range rapid.IntRange(1, 80).Draw(t, "looks") {
			now = now.Add(rapid.SampledFrom([]time.Duration{lookEvery, lookEvery, second, 3 * second, 6 * second}).Draw(t, "gap"))
			s := seenAt{beats: map[string]uint64{}, held: map[string][]courier.Number{}, claims: map[courier.Number]string{}}
			beating := map[string]bool{}
			for _, worker := range []string{"a", "b"} {
				if rapid.Bool().Draw(t, worker+" beats") {
					counts[worker]++
					beating[worker] = true
				}
				if rapid.IntRange(0, 9).Draw(t, worker+" known") > 0 {
					s.beats[worker] = counts[worker]
				}
			}
			for n := range out {
				switch rapid.IntRange(0, 4).Draw(t, "where") {
				case 0:
					s.unclaimed = append(s.unclaimed, n)
				case 1:
					s.claims[n] = "a"
				case 2:
					s.claims[n] = "b"
					s.held["b"] = append(s.held["b"], n)
				case 3:
					s.held["a"] = append(s.held["a"], n)
				}
			}
			survey := s.survey()
			f := w.look(now, survey, out, 0, "")
			g := givenUp(&f)
			for _, n := range g.all() {
				if gone[n] {
					t.Fatalf("hand-out %d given up twice", n)
				}
				gone[n] = true
				delete(out, n)
				for worker, beat := range survey.Workers {
					if beating[worker] && slices.Contains(beat.Held, n) {
						t.Fatalf("hand-out %d given up while %s, which just renewed, names it", n, worker)
					}
				}
			}
		}
		// Then everybody is silent.
		final := seenAt{beats: counts, held: map[string][]courier.Number{"a": nil}, claims: map[courier.Number]string{}}
		for n := range out {
			final.claims[n] = "a"
			final.held["a"] = append(final.held["a"], n)
		}
		for range int((courier.WorkerTimeout + 4*lookEvery) / lookEvery) {
			now = now.Add(lookEvery)
			f := w.look(now, final.survey(), out, 0, "")
			g := givenUp(&f)
			for _, n := range g.all() {
				delete(out, n)
			}
		}
		if len(out) > 0 {
			t.Fatalf("%v of dead workers were never given up", out)
		}
	})
}
