package coordinator

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs"
)

// sitePart is how many records a part has in these tests.
const sitePart = 4

// site is a coordinator on a machine of its own, as far as its state goes: it spools records, journals results, and
// seals parts.
type site struct {
	t      *testing.T
	name   string
	bucket *faulty
	run    *Run
}

// newSite takes the run on a machine with an empty disk.
func newSite(t *testing.T, name string, b *faulty) *site {
	t.Helper()
	return siteAt(t, name, b, t.TempDir())
}

func siteAt(t *testing.T, name string, b *faulty, dir string) *site {
	t.Helper()
	s := &site{t: t, name: name, bucket: &faulty{Bucket: b.Bucket}}
	if err := s.take(dir); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) take(dir string) error {
	state := State{dir}
	if err := state.create(); err != nil {
		return err
	}
	mirror, err := Claim(s.t.Context(), s.bucket, state, 0)
	if err != nil {
		return err
	}
	manifest, err := state.Manifest()
	if errors.Is(err, os.ErrNotExist) {
		manifest = &Manifest{Version: stateVersion, Run: newRunID(), PartRecords: sitePart}
		err = state.writeManifest(manifest)
	}
	if err != nil {
		return err
	}
	s.run = &Run{prepared: prepared{state: state, manifest: manifest, mirror: mirror, input: &Input{Rows: -1}}}
	mirror.begin(manifest)
	return s.run.load()
}

// answer gives results to the first so many records that have none.
func (s *site) answer(n int) {
	s.t.Helper()
	for range n {
		if err := s.answerOne(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) answerOne() error {
	r := s.run
	r.mu.Lock()
	defer r.mu.Unlock()
	var p *part
	for i := range r.nextPart {
		if open := r.parts[i]; open != nil && !open.complete() {
			p = open
			break
		}
	}
	if p == nil {
		first := int64(r.nextPart * sitePart)
		var err error
		if p, err = createPart(r.state, r.nextPart, first, jobs.Position{Row: first}); err != nil {
			return err
		}
		r.parts[r.nextPart] = p
		r.nextPart++
	}
	number := p.meta.First + int64(p.done)
	if !p.has(number) {
		record := jobs.Record{Number: number, Position: jobs.Position{Row: number}}
		if err := errors.Join(p.add(&record), p.spool.Flush()); err != nil {
			return err
		}
	}
	result := jobs.Result{Record: number, ID: s.name, Status: jobs.Succeeded, Calls: 1, Message: []byte(`{}`)}
	if err := errors.Join(r.book(p, &result, make(map[*part]bool)), p.log.Commit()); err != nil {
		return err
	}
	if p.done < sitePart {
		return nil
	}
	var err error
	if p.meta, err = p.fill(); err != nil {
		return err
	}
	return s.seal(p)
}

// seal does what the coordinator does, but for the output.
func (s *site) seal(p *part) error {
	var b strings.Builder
	compressed, err := zstd.NewWriter(&b)
	if err != nil {
		return err
	}
	for i := range sitePart {
		_, entry, err := p.result(p.meta.First + int64(i))
		if err != nil {
			return err
		}
		if _, err := compressed.Write(append(entry, '\n')); err != nil {
			return err
		}
	}
	if err := compressed.Close(); err != nil {
		return err
	}
	if err := store.WriteFile(p.state.partFile(p.meta.Index, sealedSuffix), []byte(b.String())); err != nil {
		return err
	}
	meta := p.meta
	meta.Sealed, meta.Tally = true, p.tally
	if err := p.state.writePart(&meta); err != nil {
		return err
	}
	delete(s.run.parts, p.meta.Index)
	return p.remove()
}

// checkpoint stores the site's state and returns the results that it had.
func (s *site) checkpoint() (map[int64]string, error) {
	had := resultsIn(s.t, s.run.state)
	return had, s.run.checkpoint(s.t.Context())
}

// die ends the site as a kill does: nothing is given up in order.
func (s *site) die() {
	s.run.mirror.lease.stop()
	s.run.mirror.lease.wait.Wait()
	_ = s.run.close()
	_ = s.run.suspicion.file.Close()
}

// resultsIn gives, by record, who gave its result.
func resultsIn(t *testing.T, state State) map[int64]string {
	t.Helper()
	results, err := OpenResults(state)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int64]string)
	for result, err := range results.All() {
		if err != nil {
			t.Fatal(err)
		}
		found[result.Record] = result.ID
	}
	return found
}

// wantStored takes the run over on one more machine, which must find all those results, and go on.
func wantStored(t *testing.T, b *faulty, want map[int64]string) {
	t.Helper()
	last := newSite(t, "last", b)
	defer last.die()
	got := resultsIn(t, last.run.state)
	for record, who := range want {
		if got[record] != who {
			t.Errorf("the result of record %d is %q's, want %q's; of %d stored there are %d", record, got[record], who, len(want), len(got))
		}
	}
	last.answer(2 * sitePart)
	if more := resultsIn(t, last.run.state); len(more) != len(got)+2*sitePart {
		t.Errorf("%d results after %d more than %d", len(more), 2*sitePart, len(got))
	}
}
