package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"

	"github.com/batchwright/batchwright/jobs"
)

// sampler keeps those n of all records that have the lowest hashes. The sample depends on the records' numbers and
// the seed alone, and a larger sample holds the smaller ones.
type sampler struct {
	seed uint64
	n    int
	kept []sampled // by rising hash
}

type sampled struct {
	hash   uint64
	record jobs.Record
}

// seedOf is the same while the job has its name and its input.
func seedOf(job *jobs.Job, in *Input) uint64 {
	h := sha256.New()
	_, _ = io.WriteString(h, job.Name) // a hash takes all
	for i := range in.Files {
		_, _ = io.WriteString(h, "\x00"+in.Files[i].Fingerprint)
	}
	return binary.LittleEndian.Uint64(h.Sum(nil))
}

func (s *sampler) add(record *jobs.Record) {
	if s.n == 0 {
		return
	}
	hash := mix(uint64(record.Number) ^ s.seed) //nolint:gosec // numbers are not negative
	if len(s.kept) == s.n {
		if hash >= s.kept[s.n-1].hash {
			return
		}
		s.kept = s.kept[:s.n-1]
	}
	at, _ := slices.BinarySearchFunc(s.kept, hash, func(e sampled, h uint64) int {
		if e.hash < h {
			return -1
		}
		return 1
	})
	s.kept = slices.Insert(s.kept, at, sampled{hash, cloneRecord(record)})
}

// mix is a bijection that spreads neighbours over all 64 bits (the finalizer of SplitMix64), so no two records tie.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// cloneRecord copies a record out of the buffer that it was read from, which is much larger.
func cloneRecord(record *jobs.Record) jobs.Record {
	c := *record
	c.Fields = slices.Clone(record.Fields)
	for i := range c.Fields {
		c.Fields[i].Value = slices.Clone(c.Fields[i].Value)
	}
	return c
}

// sampleOf reads the whole input and returns n of its records in their order, and how many there are in all.
func (in *Input) sampleOf(ctx context.Context, job *jobs.Job, n int) ([]jobs.Record, int64, error) {
	s := &sampler{seed: seedOf(job, in), n: n}
	var total int64
	err := in.each(ctx, func(record *jobs.Record) error {
		total++
		s.add(record)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	records := make([]jobs.Record, len(s.kept))
	for i := range s.kept {
		records[i] = s.kept[i].record
	}
	slices.SortFunc(records, func(a, b jobs.Record) int { return int(a.Number - b.Number) })
	return records, total, nil
}
