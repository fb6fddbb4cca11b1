package chaos

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

// G6: a record that is the death of each worker that calls it does not stop the run. It takes one worker in company and
// three alone, then it fails as poison; the records that were in flight beside it succeed.
func TestPoisonOverFleet(t *testing.T) {
	t.Parallel()
	const records, poison = 160, 90
	type strike struct {
		key string // of the worker that calls the poison
		at  time.Time
	}
	strikes := make(chan strike, 16)
	f := startFleet(t, setup{
		records: records, staff: 2, slots: 8, prompt: "is this good?",
		options: simulator.Options{Latency: 100 * time.Millisecond, LatencySigma: 0.5},
		stays: func(record int64, key string) bool {
			if record == poison {
				strikes <- strike{key, time.Now()}
			}
			return record == poison
		},
	})
	var company []int // calls in flight beside the poison, at each death
	for f.coordinator.process.running() {
		if len(company) > 6 {
			t.Fatalf("%d workers died of the record, and it has not failed", len(company))
		}
		var s strike
		select {
		case s = <-strikes:
		case <-f.coordinator.process.exited:
			continue
		}
		i := slices.IndexFunc(f.workers, func(m *member) bool { return m.key() == s.key })
		if len(company) == 0 { // a call that is alone begins only when Redis knows of it
			until(t, "news of the call", func() bool { return f.api.open(s.key) > 1 && f.told(s.key, s.at) })
		}
		company = append(company, f.api.open(s.key)-1)
		for _, step := range f.plan(fault{kind: workerKilled, worker: i}) {
			step.do()
		}
	}
	code, _ := f.coordinator.process.wait(0)
	if code != exitManyFailures { // a job has no failed record to spare unless it says so
		t.Fatalf("the coordinator ended with exit code %d", code)
	}
	f.complete(code)
	f.answeredOnce(records - 1)
	if len(company) != 4 || company[0] == 0 || slices.Max(company[1:]) > 0 {
		t.Errorf("workers died with %d calls in flight beside the poison, want some at the first death and none at three more", company)
	}
	output, err := os.ReadFile(filepath.Join(f.dir, "out.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	rows := slices.Collect(strings.Lines(string(output)))
	if len(rows) != records {
		t.Errorf("%d rows for %d records", len(rows), records)
	}
	for i, row := range rows {
		status, reason := gjson.Get(row, "_status").String(), gjson.Get(row, "_reason").String()
		if i == poison && (status != "failed" || reason != "poison") || i != poison && status != "succeeded" {
			t.Errorf("record %d: %s, %s", i, status, reason)
		}
	}
}

// told reports whether the coordinator knows of a worker's call that began then: news and results travel in order, so
// that the result of a later call tells.
func (f *fleet) told(key string, began time.Time) bool {
	done := journaled(f.t, f.state(), f.records)
	return slices.ContainsFunc(f.api.all(), func(c call) bool { return c.key == key && c.began.After(began) && done[c.record] })
}
