package coordinator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/batchwright/batchwright/jobs"
)

// Holdings is what a state folder holds that was paid for.
type Holdings struct {
	// Answers counts the answers of runs, those set aside included; Tried those of tries.
	Answers, Tried int64
	// Cost is that of all of them, as far as their models have a price; Unpriced counts the others.
	Cost     jobs.Nanodollars
	Unpriced int64
	// Unfinished is set when the run is not complete, so that its output is not written.
	Unfinished bool
}

// Holdings counts what a state folder holds. It is a usage error when the folder is not one of a job.
func (s State) Holdings() (Holdings, error) {
	var h Holdings
	if !s.exists() {
		return h, usage("%s holds no run", s.Dir)
	}
	folders := []State{s}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return h, fmt.Errorf("list state folder: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), asidePrefix) {
			folders = append(folders, State{filepath.Join(s.Dir, entry.Name())})
		}
	}
	for i, folder := range folders {
		results, err := OpenResults(folder)
		if _, none := errors.AsType[*UsageError](err); none {
			continue
		}
		if err != nil {
			return h, err
		}
		overview, err := results.Overview()
		if err != nil {
			return h, err
		}
		h.add(&overview.Tally)
		h.Unfinished = h.Unfinished || i == 0 && results.Manifest.Finished.IsZero()
	}
	return h, h.addTries(s)
}

// asidePrefix begins the names of the folders to which --fresh moves earlier runs.
const asidePrefix = "aside-"

// exists reports whether the folder is a job's state: nothing else must ever be deleted.
func (s State) exists() bool {
	for _, name := range []string{manifestFile, triesFile, partsDir} {
		if _, err := os.Lstat(filepath.Join(s.Dir, name)); err == nil {
			return true
		}
	}
	return false
}

// add counts the records whose results hold a message.
func (h *Holdings) add(t *Tally) {
	h.Answers += t.Succeeded
	for _, reason := range []jobs.Reason{jobs.ReasonRefused, jobs.ReasonTruncated, jobs.ReasonInvalid} {
		h.Answers += t.Failed[reason]
	}
	h.Cost += t.Cost
	h.Unpriced += t.Unpriced
}

// addTries counts the answers of tries, each call once: one that was shown again stands in the journal again.
func (h *Holdings) addTries(s State) error {
	type call struct {
		record  int64
		digest  jobs.Digest
		request string
	}
	seen := make(map[call]bool)
	err := eachTry(s, func(entry tryEntry) {
		r := &entry.result
		once := call{r.Record, r.Digest, r.RequestID}
		if seen[once] {
			return
		}
		seen[once] = true
		h.Tried++
		h.Cost += r.Cost
		if !r.Priced {
			h.Unpriced++
		}
	})
	if err != nil {
		return fmt.Errorf("read tries: %w", err)
	}
	return nil
}

// Remove deletes a state folder with all that is in it; the output stays. *HeldError while a run or a try uses it.
func (s State) Remove() error {
	if !s.exists() {
		return usage("%s holds no run", s.Dir)
	}
	lock, err := s.Lock()
	if err != nil {
		return err
	}
	defer lock.Unlock() //nolint:errcheck // its file is deleted
	tries, err := s.lockTries()
	if err != nil {
		return err
	}
	defer tries.Unlock() //nolint:errcheck // its file is deleted
	// Renamed first, so that a deletion that is cut short leaves nothing that looks like a run.
	doomed := filepath.Join(filepath.Dir(s.Dir), ".removed-"+newRunID())
	if err := os.Rename(s.Dir, doomed); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state folder: %w", err)
	}
	if err := os.RemoveAll(doomed); err != nil {
		return fmt.Errorf("remove state folder: %w", err)
	}
	return nil
}
