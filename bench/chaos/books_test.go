package chaos

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

// loss is what a fault may have cost: the calls that may have to be paid again because of it.
type loss struct {
	fault fault
	began time.Time
	// inFlight counts the calls that were open where the fault struck.
	inFlight int
	// keys are the callers whose calls are lost; none when the fault loses none.
	keys map[string]bool
	// Of theirs, the calls that began by until are lost, and only those answered by then when answeredOnly is set:
	// what was in Redis is, what is in flight at a worker is not.
	until        time.Time
	answeredOnly bool
	// journaled are the records whose result was safe when the fault struck.
	journaled []bool

	lost    map[int64]bool // records
	repeats int            // answers beyond a record's first that this fault explains
}

// covers reports whether a call is one that the fault may have made worthless.
func (l *loss) covers(c *call) bool {
	switch {
	case !l.keys[c.key], l.journaled[c.record], c.began.After(l.until):
		return false
	case l.answeredOnly:
		return c.answered && !c.ended.After(l.until)
	default:
		return true
	}
}

// audit explains each answer beyond a record's first by a fault before it that covers the record. A fault explains
// one repeat of a record at most. It returns the repeats that nothing explains.
func audit(calls []call, losses []*loss) (repeats int, unexplained []string) {
	byRecord := map[int64][]*call{}
	for i := range calls {
		c := &calls[i]
		byRecord[c.record] = append(byRecord[c.record], c)
	}
	for _, l := range losses {
		l.lost, l.repeats = map[int64]bool{}, 0
		for i := range calls {
			if l.covers(&calls[i]) {
				l.lost[calls[i].record] = true
			}
		}
	}
	for record, its := range byRecord {
		var paid []*call
		for _, c := range its {
			if c.answered {
				paid = append(paid, c)
			}
		}
		if len(paid) < 2 {
			continue
		}
		slices.SortFunc(paid, func(x, y *call) int { return x.began.Compare(y.began) })
		used := map[*loss]bool{}
		for _, again := range paid[1:] {
			repeats++
			var because *loss
			for _, l := range slices.Backward(losses) {
				if l.lost[record] && !used[l] && l.began.Before(again.began) {
					because = l
					break
				}
			}
			if because == nil {
				unexplained = append(unexplained, history(record, its, losses))
				continue
			}
			used[because] = true
			because.repeats++
		}
	}
	slices.Sort(unexplained)
	return repeats, unexplained
}

// history tells what happened to a record.
func history(record int64, its []*call, losses []*loss) string {
	type event struct {
		at   time.Time
		text string
	}
	var events []event
	for _, c := range its {
		how := "unanswered"
		if c.answered {
			how = "answered"
		}
		events = append(events, event{c.began, c.key[strings.LastIndexByte(c.key, '-')+1:] + " calls, " + how + " after " + c.ended.Sub(c.began).Round(time.Millisecond).String()})
	}
	for _, l := range losses {
		text := l.fault.String()
		if l.lost[record] {
			text += " [covers it]"
		}
		if l.journaled[record] {
			text += " [after its result was journaled]"
		}
		events = append(events, event{l.began, text})
	}
	slices.SortFunc(events, func(x, y event) int { return x.at.Compare(y.at) })
	var b strings.Builder
	fmt.Fprintf(&b, "record %d:\n", record)
	for _, e := range events {
		fmt.Fprintf(&b, "  %s %s\n", e.at.Format("15:04:05.000"), e.text)
	}
	return b.String()
}

// journaled reads from a job's state folder which of its records have a result.
func journaled(t *testing.T, state string, records int) []bool {
	t.Helper()
	has := make([]bool, records)
	metas, err := filepath.Glob(filepath.Join(state, "parts", "*.json"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range metas {
		// A part is sealed before its journal goes away: one that is gone needs a second look at the meta file.
		for done := false; !done; {
			meta, err := partMeta(path)
			if err != nil {
				t.Error(err)
				return has
			}
			if done = meta.Sealed; done {
				for i := range int64(meta.Records) {
					has[meta.First+i] = true
				}
				continue
			}
			err = journal.ScanFile(strings.TrimSuffix(path, ".json")+".journal", func(_ int64, payload []byte) error {
				has[gjson.GetBytes(payload, "record").Int()] = true
				return nil
			})
			if done = !errors.Is(err, fs.ErrNotExist) || !meta.Full; done && err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("read journal: %v", err)
			}
		}
	}
	return has
}

func partMeta(path string) (coordinator.PartMeta, error) {
	var meta coordinator.PartMeta
	content, err := os.ReadFile(path)
	if err != nil {
		return meta, err
	}
	return meta, json.Unmarshal(content, &meta)
}

// table shows what was survived, kind by kind.
func table(losses []*loss) string {
	type row struct {
		kind                       kind
		faults, inFlight, bound, n int
	}
	var rows [kinds]row
	all := row{}
	for _, l := range losses {
		r := &rows[l.fault.kind]
		r.kind = l.fault.kind
		for _, r := range []*row{r, &all} {
			r.faults++
			r.inFlight += l.inFlight
			r.bound += len(l.lost)
			r.n += l.repeats
		}
	}
	sorted := slices.DeleteFunc(rows[:], func(r row) bool { return r.faults == 0 })
	slices.SortFunc(sorted, func(x, y row) int { return cmp.Compare(x.kind, y.kind) })
	var b strings.Builder
	b.WriteString("| fault | times | calls in flight where it struck | calls it may cost again | paid again |\n|---|---:|---:|---:|---:|\n")
	for _, r := range sorted {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", r.kind, r.faults, r.inFlight, r.bound, r.n)
	}
	fmt.Fprintf(&b, "| **all** | %d | %d | %d | %d |\n", all.faults, all.inFlight, all.bound, all.n)
	return b.String()
}

// The audit must see a repeat that no fault explains, and must not take one fault for the excuse of two.
func TestAudit(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	answered := func(key string, from, to int) call { return call{0, key, at(from), at(to), true} }
	kill := func(when int) *loss {
		return &loss{fault: fault{kind: workerKilled}, began: at(when), keys: map[string]bool{"k-w1": true}, until: at(when), journaled: make([]bool, 1)}
	}
	flush := func(when int) *loss {
		l := kill(when)
		l.answeredOnly = true
		return l
	}
	safe := kill(5)
	safe.journaled = []bool{true}
	cases := []struct {
		name                 string
		calls                []call
		losses               []*loss
		repeats, unexplained int
	}{
		{"one answer", []call{answered("k-w1", 1, 2)}, nil, 0, 0},
		{"a repeat for no reason", []call{answered("k-w1", 1, 2), answered("k-w2", 3, 4)}, nil, 1, 1},
		{"killed with the answer", []call{answered("k-w1", 1, 2), answered("k-w2", 6, 7)}, []*loss{kill(5)}, 1, 0},
		{"killed after the repeat", []call{answered("k-w1", 1, 2), answered("k-w2", 3, 4)}, []*loss{kill(5)}, 1, 1},
		{"killed, with another's answer", []call{answered("k-w3", 1, 2), answered("k-w2", 6, 7)}, []*loss{kill(5)}, 1, 1},
		{"killed, the answer in the journal", []call{answered("k-w1", 1, 2), answered("k-w2", 6, 7)}, []*loss{safe}, 1, 1},
		{"one kill, two repeats", []call{answered("k-w1", 1, 2), answered("k-w2", 6, 7), answered("k-w2", 8, 9)}, []*loss{kill(5)}, 2, 1},
		{"two kills, two repeats", []call{answered("k-w1", 1, 2), answered("k-w1", 6, 7), answered("k-w2", 9, 10)}, []*loss{kill(5), kill(8)}, 2, 0},
		{"forgotten by Redis", []call{answered("k-w1", 1, 2), answered("k-w2", 6, 7)}, []*loss{flush(5)}, 1, 0},
		{"in flight when Redis forgot", []call{answered("k-w1", 4, 6), answered("k-w2", 7, 8)}, []*loss{flush(5)}, 1, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			repeats, unexplained := audit(c.calls, c.losses)
			if repeats != c.repeats || len(unexplained) != c.unexplained {
				t.Errorf("%d repeats, %d unexplained; want %d and %d:\n%s", repeats, len(unexplained), c.repeats, c.unexplained, unexplained)
			}
		})
	}
}
