package journal

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// faulty is a file whose disk is full at room bytes and whose syncs fail on demand.
type faulty struct {
	file
	room    int64 // 0 means endless
	badSync bool
	syncs   int
}

func (f *faulty) WriteAt(b []byte, offset int64) (int, error) {
	if f.room == 0 || offset+int64(len(b)) <= f.room {
		return f.file.WriteAt(b, offset)
	}
	n := max(0, f.room-offset)
	_, _ = f.file.WriteAt(b[:n], offset)
	return int(n), syscall.ENOSPC
}

func (f *faulty) Sync() error {
	f.syncs++
	if f.badSync {
		return syscall.EIO
	}
	return f.file.Sync()
}

func createFaulty(t *testing.T) (*Log, *faulty) {
	t.Helper()
	l := create(t)
	f := &faulty{file: l.f}
	l.f = f
	return l, f
}

// Holds: a full disk loses nothing: the file stays clean, and all entries are there once there is room.
func TestFullDiskKeepsEntriesForLater(t *testing.T) {
	t.Parallel()
	for _, drain := range []struct {
		name        string
		full, later func(*Log) error
	}{
		{"commit", (*Log).Commit, (*Log).Commit},
		{"flush, then commit", (*Log).Flush, (*Log).Commit},
		{"commit, then flush", (*Log).Commit, (*Log).Flush},
	} {
		t.Run(drain.name, func(t *testing.T) {
			t.Parallel()
			l, f := createFaulty(t)
			appendAll(t, l, "safe")
			commit(t, l)
			f.room = l.Size() + 30
			offsets := appendAll(t, l, "one", "two")
			for range 3 {
				if err := drain.full(l); !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				offsets = append(offsets, appendAll(t, l, "more")...)
				if stat, _ := os.Stat(l.path); stat.Size() != l.end {
					t.Errorf("the file has %d bytes, not the %d that are whole", stat.Size(), l.end)
				}
				if diff := cmp.Diff([]string{"safe"}, contents(t, l.path)); diff != "" {
					t.Fatal("file while the disk is full:", diff)
				}
			}
			if got, err := l.ReadAt(offsets[1]); err != nil || string(got) != "two" {
				t.Errorf("ReadAt while the disk is full: %q, %v", got, err)
			}
			f.room = 0
			if err := drain.later(l); err != nil {
				t.Fatal(err)
			}
			want := []string{"safe", "one", "two", "more", "more", "more"}
			if diff := cmp.Diff(want, contents(t, l.path)); diff != "" {
				t.Error("file after there was room:", diff)
			}
			for i, offset := range offsets {
				if got, err := l.ReadAt(offset); err != nil || string(got) != want[i+1] {
					t.Errorf("entry %d: %q, %v", i, got, err)
				}
			}
		})
	}
}

// Holds: a barrier after a group is written only when that group was synced, also when the group's first write failed
// and a Flush made good for it.
func TestBarrierIsNeverWrittenBeforeTheSyncItVouchesFor(t *testing.T) {
	t.Parallel()
	l, f := createFaulty(t)
	f.room = 1
	appendAll(t, l, "committed")
	if err := l.Commit(); err == nil {
		t.Fatal("no error on a full disk")
	}
	appendAll(t, l, "follows a barrier")
	f.room, f.syncs = 0, 0
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if f.syncs != 1 {
		t.Errorf("%d syncs before the barrier, want 1", f.syncs)
	}
}

// Holds: after a failed sync nothing reports success again, and a new process sees what is certainly durable.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	l, f := createFaulty(t)
	appendAll(t, l, "durable")
	commit(t, l)
	appendAll(t, l, "lost")
	f.badSync = true
	if err := l.Commit(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	f.badSync = false
	_, errAppend := l.Append([]byte("x"))
	for i, err := range []error{errAppend, l.Commit(), l.Flush()} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("call %d after the failure: %v", i, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"durable"}, contents(t, l.path)); diff != "" {
		t.Error(diff)
	}
}

func TestSyncsAreAsFewAsPossible(t *testing.T) {
	t.Parallel()
	l, f := createFaulty(t)
	steps := []struct {
		name string
		do   func() error
		want int
	}{
		{"commit of nothing", l.Commit, 0},
		{"flush", func() error { appendAll(t, l, "a", "b"); return l.Flush() }, 0},
		{"commit of what was flushed", l.Commit, 1},
		{"commit of two", func() error { appendAll(t, l, "c", "d"); return l.Commit() }, 1},
		{"commit again", l.Commit, 0},
		{"commit of flushed and new", func() error {
			appendAll(t, l, "e")
			if err := l.Flush(); err != nil {
				return err
			}
			appendAll(t, l, "f")
			return l.Commit()
		}, 1},
	}
	for _, step := range steps {
		f.syncs = 0
		if err := step.do(); err != nil {
			t.Fatal(step.name, err)
		}
		if f.syncs != step.want {
			t.Errorf("%s: %d syncs, want %d", step.name, f.syncs, step.want)
		}
	}
}
