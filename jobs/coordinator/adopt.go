package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// adopt takes onto the books what workers of an earlier coordinator still have, so that it is not handed out again while
// they live; and makes suspects of what was in flight when the process that was coordinator and worker in one died.
func (r *Run) adopt(ctx context.Context, diedWithWorker bool) error {
	look := r.owner.Inherit
	if r.embedded {
		look = r.owner.Survey // the workers died with their Redis
	}
	survey, err := look(ctx)
	if err != nil {
		return fmt.Errorf("adopt hand-outs: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	adopted := 0
	// A record that came back from a hand-out went out again in a later one.
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(survey.Claims))) {
		claim, h := survey.Claims[n], &handout{}
		for _, records := range claim.Records {
			for number := records.First; number <= records.Last; number++ {
				p, err := r.pendingOf(number)
				if err != nil {
					return err
				}
				if p == nil {
					continue // it has its result, or was not spooled when the coordinator's machine lost power
				}
				alone, began := r.suspicion.before[number]
				p.handout, p.began = n, began
				if alone {
					h.mode = courier.Alone
				}
				if began {
					r.suspicion.start(number, alone)
				}
				h.left++
				h.order = append(h.order, number)
				r.handOver(p)
			}
		}
		if h.left > 0 {
			r.handouts[n] = h
			adopted += h.left
		}
	}
	if adopted > 0 {
		slog.InfoContext(ctx, "workers still have records of the coordinator before", slog.Int("records", adopted))
	}
	if !diedWithWorker {
		return nil
	}
	suspects := 0
	for number, alone := range r.suspicion.before {
		p, err := r.pendingOf(number)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		if alone {
			r.suspicion.alone[number]++
		}
		p.suspect = true
		suspects++
		r.handOver(p)
		r.returned = append(r.returned, p)
	}
	if suspects > 0 {
		slog.InfoContext(ctx, "records that were in flight when the last process died run one at a time first",
			slog.Int("records", suspects))
	}
	// From now on the file speaks of this process.
	return r.suspicion.save(r.suspicion.encode())
}

// pendingOf makes the books' entry of a record of an open part; nil when it has its result, is on the books already, or
// is not in an open part. The caller holds the mutex.
func (r *Run) pendingOf(number int64) (*pending, error) {
	p := r.partOf(number)
	if p == nil || p.answered(number) || r.outstanding[number] != nil {
		return nil, nil //nolint:nilnil // nothing to do, and nothing wrong
	}
	record, err := p.record(number)
	if err != nil {
		return nil, err
	}
	r.input.label(&record)
	body, problem := r.input.body(r.job, &record)
	if problem != "" {
		return nil, nil //nolint:nilnil // nobody has it
	}
	return &pending{
		part: p, number: number, id: record.ID, digest: jobs.DigestOf(body), size: int64(len(body)), reserved: r.worstCase(body),
	}, nil
}

// partOf is the open part that has a record; nil when none has. The caller holds the mutex.
func (r *Run) partOf(number int64) *part {
	for _, p := range r.parts {
		if p.has(number) {
			return p
		}
	}
	return nil
}

// handOver takes a record onto the books. The caller holds the mutex.
func (r *Run) handOver(p *pending) {
	r.outstanding[p.number] = p
	r.window.records++
	r.window.bytes += p.size
	r.reserved += p.reserved
}

// late books a result of a record that is not on the books: it came from a hand-out of an earlier coordinator. It
// reports whether the record still lacked one. The caller holds the mutex.
func (r *Run) late(result *jobs.Result, touched map[*part]bool) (bool, error) {
	p, err := r.pendingOf(result.Record)
	if err != nil || p == nil || p.digest != result.Digest {
		return false, err
	}
	result.ID = p.id
	r.job.Judge(result)
	return true, r.book(p.part, result, touched)
}

// repeated reports whether a result that is not needed is another call's than the one that is journaled. Redis may
// give the same result twice: after a restart, or when it went back in time. The caller holds the mutex.
func (r *Run) repeated(result *jobs.Result) bool {
	if p := r.partOf(result.Record); p != nil {
		if !p.answered(result.Record) {
			return true // to another request
		}
		kept, _, err := p.result(result.Record)
		return err != nil || !kept.FinishedAt.Equal(result.FinishedAt)
	}
	kept, known := r.seen.of(result.Record)
	return !known || kept != result.FinishedAt.UnixNano()
}

// sealedTimes knows when the results of sealed parts were made, by which the same result is told from another. It
// holds those of one part in memory.
type sealedTimes struct {
	state State
	parts []PartMeta // sealed, in order
	index int        // of the part in times
	times map[int64]int64
}

func (s *sealedTimes) sealed(meta *PartMeta) {
	s.parts = append(s.parts, *meta)
}

// of is when a sealed record's result was made, in nanoseconds since 1970.
func (s *sealedTimes) of(record int64) (int64, bool) {
	for i := range s.parts {
		meta := &s.parts[i]
		if record < meta.First || record >= meta.First+int64(meta.Records) {
			continue
		}
		if s.times == nil || s.index != meta.Index {
			s.index, s.times = meta.Index, make(map[int64]int64, meta.Records)
			err := eachSealedEntry(s.state.partFile(meta.Index, sealedSuffix), func(entry []byte) error {
				result, err := jobs.ParseResult(entry)
				if err == nil {
					s.times[result.Record] = result.FinishedAt.UnixNano()
				}
				return err
			})
			if err != nil {
				return 0, false // what can't be told apart counts
			}
		}
		at, known := s.times[record]
		return at, known
	}
	return 0, false
}
