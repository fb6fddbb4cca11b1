package coordinator

import "time"

// paceSpan is how far back a run's pace looks.
const paceSpan = time.Minute

// pace tells how fast records end at present. Its zero value has seen nothing.
type pace struct{ marks []mark } // oldest first, about a second apart

type mark struct {
	at   time.Time
	done int64
}

// rate notes how many records have ended by now and returns how many a second did since the last note that is a minute
// old, or the first of all; 0 for the first.
func (p *pace) rate(now time.Time, done int64) float64 {
	for len(p.marks) > 1 && now.Sub(p.marks[1].at) >= paceSpan {
		p.marks = p.marks[1:]
	}
	p.marks = append(p.marks, mark{now, done})
	first := p.marks[0]
	took := now.Sub(first.at)
	if took <= 0 {
		return 0
	}
	return float64(done-first.done) / took.Seconds()
}
