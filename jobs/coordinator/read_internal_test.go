package coordinator

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/jobs"
)

// resultOf is a result whose error tells results of one record apart.
func resultOf(record int64, text string) jobs.Result {
	return jobs.Result{Record: record, ID: fmt.Sprintf("r%d", record), Status: jobs.Failed, Reason: jobs.ReasonRejected, Error: text}
}

// openJournal writes an open part's journal and returns the results over it.
func openJournal(t *testing.T, groupBytes int, results ...jobs.Result) *Results {
	t.Helper()
	state := State{t.TempDir()}
	if err := state.create(); err != nil {
		t.Fatal(err)
	}
	log, err := journal.Create(state.partFile(0, journalSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		if _, err := log.Append(jobs.AppendResult(nil, &results[i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return &Results{State: state, Parts: []PartMeta{{First: 10}}, groupBytes: groupBytes}
}

func sealJournal(t *testing.T, state State, text string) {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state.partFile(0, sealedSuffix), encoder.EncodeAll([]byte(text), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(state.partFile(0, journalSuffix)); err != nil {
		t.Fatal(err)
	}
}

func sealedText(results ...jobs.Result) string {
	var b strings.Builder
	for i := range results {
		b.Write(append(jobs.AppendResult(nil, &results[i]), '\n'))
	}
	return b.String()
}

// An open journal is read in the order of the records, whatever the order of arrival and however little of it fits
// into memory, and the last result of a record counts.
func TestOpenJournalInOrder(t *testing.T) {
	t.Parallel()
	for name, groupBytes := range map[string]int{"in one group": openGroupBytes, "one result at a time": 1, "two at a time": 250} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openJournal(t, groupBytes, resultOf(14, "e"), resultOf(11, "b"), resultOf(10, "old"), resultOf(13, "d"), resultOf(10, "a"))
			var got []string
			for result, err := range r.All() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, result.ID+result.Error)
			}
			if diff := cmp.Diff([]string{"r10a", "r11b", "r13d", "r14e"}, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

// A part that its coordinator seals while it is read gives each result once.
func TestSealedWhileRead(t *testing.T) {
	t.Parallel()
	all := []jobs.Result{resultOf(10, ""), resultOf(11, ""), resultOf(12, "")}
	for name, after := range map[string]int{"before the first result": 0, "after the first": 1, "after the second": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openJournal(t, 1, all[2], all[0], all[1])
			if after == 0 {
				sealJournal(t, r.State, sealedText(all...))
			}
			var got []int64
			for result, err := range r.All() {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, result.Record); len(got) == after {
					sealJournal(t, r.State, sealedText(all...))
				}
			}
			if diff := cmp.Diff([]int64{10, 11, 12}, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// A message of several lines is one entry, and a damaged journal is an error and no short answer.
func TestSealedJournal(t *testing.T) {
	t.Parallel()
	r := openJournal(t, 1)
	first := resultOf(10, "")
	first.Message = []byte("{\"type\":\"message\",\n \"content\":[]\n}")
	sealJournal(t, r.State, sealedText(first, resultOf(11, ""))+`{"record":12,"sta`)
	r.Parts[0].Sealed = true
	var got []int64
	var failure error
	for result, err := range r.All() {
		if failure = err; err == nil {
			got = append(got, result.Record)
		}
	}
	if diff := cmp.Diff([]int64{10, 11}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if failure == nil || !strings.Contains(failure.Error(), sealedSuffix) {
		t.Errorf("error: %v, want one that names the journal", failure)
	}
}

// A part that was begun this moment has no journal yet, and no results.
func TestPartWithoutJournal(t *testing.T) {
	t.Parallel()
	r := &Results{State: State{t.TempDir()}, Parts: []PartMeta{{}}, groupBytes: 1}
	for result, err := range r.All() {
		t.Errorf("got %v, %v", result.Record, err)
	}
	r.Parts[0].Sealed = true
	var failure error
	for _, failure = range r.All() {
	}
	if failure == nil {
		t.Error("a sealed part without its journal is read as empty")
	}
}

// The sample is the same whatever the order of the records, a larger one holds the smaller, and another seed gives
// another.
func TestSamplerIsStable(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64, n int, numbers func(yield func(int64) bool)) map[int64]bool {
		s := &sampler{seed: seed, n: n}
		for number := range numbers {
			s.add(&jobs.Record{Number: number})
		}
		drawn := make(map[int64]bool)
		for i := range s.kept {
			drawn[s.kept[i].record.Number] = true
		}
		if len(drawn) != min(n, 1000) {
			t.Errorf("%d records drawn, want %d", len(drawn), n)
		}
		return drawn
	}
	rising := func(yield func(int64) bool) {
		for i := range int64(1000) {
			if !yield(i) {
				return
			}
		}
	}
	falling := func(yield func(int64) bool) {
		for i := range int64(1000) {
			if !yield(999 - i) {
				return
			}
		}
	}
	twenty := draw(1, 20, rising)
	if diff := cmp.Diff(twenty, draw(1, 20, falling)); diff != "" {
		t.Errorf("the order of the records changes the sample:\n%s", diff)
	}
	fifty := draw(1, 50, rising)
	for number := range twenty {
		if !fifty[number] {
			t.Errorf("record %d is in the sample of 20 and not in that of 50", number)
		}
	}
	if cmp.Equal(twenty, draw(2, 20, rising)) {
		t.Error("another seed gives the same sample")
	}
	draw(1, 2000, rising)
	low := 0
	for number := range draw(1, 200, rising) {
		if number < 500 {
			low++
		}
	}
	if low < 70 || low > 130 {
		t.Errorf("%d of 200 drawn records are of the first half", low)
	}
}
