package coordinator_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker/simulator"
)

// olderRig is a rig with the state that the first build of format version 1 left behind: see testdata/state-1.
func olderRig(t *testing.T) *rig {
	t.Helper()
	var faults simulator.Faults
	if err := faults.Set("400=4%"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, simulator.Options{Deterministic: faults})
	r.apiName = "http://api.example"
	older := filepath.Join("testdata", "state-1")
	for _, name := range []string{"job.yaml", "in.jsonl"} {
		if err := copyFile(filepath.Join(older, name), filepath.Join(r.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(r.state().Dir, os.DirFS(filepath.Join(older, "state"))); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(".batchwright", "job", "manifest.json")
	r.write(manifest, strings.ReplaceAll(r.read(manifest), `"/job/`, `"`+r.dir+`/`))
	return r
}

// A run that an earlier build began is continued by this one to its end: what it had is kept as it was, and paid for
// once.
func TestResumeOlderState(t *testing.T) {
	t.Parallel()
	r := olderRig(t)
	if found := r.verify(); found.OK() || found.Complete {
		t.Fatalf("before: %+v", found)
	}
	had := make(map[int64]string) // request ids, which no two calls share
	for result, err := range r.results().All() {
		if err != nil {
			t.Fatal(err)
		}
		had[result.Record] = result.RequestID
	}
	tried := make(map[string]bool)
	err := journal.ScanFile(filepath.Join(r.state().Dir, "tries.journal"), func(_ int64, entry []byte) error {
		tried[gjson.GetBytes(entry, "result.request_id").Str] = true
		return nil
	})
	if err != nil || len(tried) != 6 || len(had) < 100 || len(had) > 130 {
		t.Fatalf("the state holds %d tries and %d results, error %v", len(tried), len(had), err)
	}

	outcome := r.complete()
	found := r.verify()
	if !found.OK() || found.Records != 700 || found.Succeeded+found.Failed != 700 {
		t.Fatalf("after: %+v", found)
	}
	free := int64(len(had))
	for i, row := range r.mustRows("out.jsonl") {
		record := jobs.Record{Fields: row}
		value, _ := record.Get("_request_id")
		reason, _ := record.Get("_reason")
		request := gjson.ParseBytes(value).String()
		before, ok := had[int64(i)]
		switch {
		case ok && request != before:
			t.Errorf("record %d was answered by request %q, and had been by %q", i, request, before)
		case !ok && (tried[request] || string(reason) == `"bad_input"`):
			free++
		}
	}
	if calls := r.api.Stats().Calls; calls != 700-free {
		t.Errorf("%d calls, and %d of 700 records needed none", calls, free)
	}
	if outcome.Unknown == 0 {
		t.Error("calls that the kill left unknown are not counted")
	}
}

// files are the contents of a state folder, without those that say who is looking.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "lock") {
			return err
		}
		content, err := os.ReadFile(path)
		found[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// State of another version is refused with a word on what to do, and left as it is, whichever of its files says so.
func TestUnknownVersion(t *testing.T) {
	t.Parallel()
	newer := func(content string) (string, error) {
		// What else a later version holds may be of other types.
		content, err := sjson.Set(content, "version", 2)
		if err == nil {
			content, err = sjson.Set(content, "start", "anew")
		}
		if err == nil {
			content, err = sjson.Set(content, "inputs", 7)
		}
		return content, err
	}
	laterLog := func(content string) (string, error) {
		return strings.Replace(content, "batchwright journal 1\n", "batchwright journal 2\n", 1), nil
	}
	for name, test := range map[string]struct {
		file   string
		change func(string) (string, error)
		fresh  bool
	}{
		"manifest":         {"manifest.json", newer, false},
		"manifest, afresh": {"manifest.json", newer, true},
		"sealed part":      {"parts/00000000.json", newer, false},
		"open part":        {"parts/00000002.json", newer, false},
		"journal":          {"parts/00000002.journal", laterLog, false},
		"records":          {"parts/00000009.records", laterLog, false},
		"tries":            {"tries.journal", laterLog, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := olderRig(t)
			r.args.Fresh = test.fresh
			path := filepath.Join(".batchwright", "job", test.file)
			changed, err := test.change(r.read(path))
			if err != nil {
				t.Fatal(err)
			}
			r.write(path, changed)
			before := files(t, r.state().Dir)
			_, err = r.run(nil)
			if err == nil || !strings.Contains(err.Error(), "version") || !strings.Contains(err.Error(), "use the batchwright that wrote it") {
				t.Errorf("run: %v, want it refused for its version", err)
			}
			if calls := r.api.Stats().Calls; calls != 0 {
				t.Errorf("%d calls were made", calls)
			}
			if diff := cmp.Diff(before, files(t, r.state().Dir)); diff != "" {
				t.Errorf("the state was changed:\n%.2000s", diff)
			}
		})
	}
}

// What only reads a run refuses another version as well.
func TestUnknownVersionRead(t *testing.T) {
	t.Parallel()
	r := olderRig(t)
	path := filepath.Join(".batchwright", "job", "manifest.json")
	r.write(path, strings.Replace(r.read(path), `"version": 1`, `"version": 99`, 1))
	_, verifyErr := coordinator.Verify(t.Context(), r.state())
	_, holdingsErr := r.state().Holdings()
	for name, err := range map[string]error{"verify": verifyErr, "rm": holdingsErr} {
		if err == nil || !strings.Contains(err.Error(), "format version 99") {
			t.Errorf("%s: %v, want it refused for its version", name, err)
		}
	}
}
