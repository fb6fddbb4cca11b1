package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// create makes a log in a folder of its own and closes it when the test ends.
func create(t *testing.T) *Log {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func appendAll(t *testing.T, l *Log, payloads ...string) (offsets []int64) {
	t.Helper()
	for _, p := range payloads {
		offset, err := l.Append([]byte(p))
		if err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, offset)
	}
	return offsets
}

func commit(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Commit(); err != nil {
		t.Fatal(err)
	}
}

func collect(into *[]string) func(int64, []byte) error {
	return func(_ int64, p []byte) error {
		*into = append(*into, string(p))
		return nil
	}
}

func contents(t *testing.T, path string) (payloads []string) {
	t.Helper()
	if err := ScanFile(path, collect(&payloads)); err != nil {
		t.Fatal(err)
	}
	return payloads
}

func TestEntriesComeBackInOrderFromEveryReader(t *testing.T) {
	t.Parallel()
	l := create(t)
	want := []string{"one", strings.Repeat("two", 200_000), "\x00", "four"}
	offsets := appendAll(t, l, want[:2]...)
	commit(t, l)
	offsets = append(offsets, appendAll(t, l, want[2:]...)...)
	commit(t, l)

	var scanned []string
	var at []int64
	if err := l.Scan(func(offset int64, p []byte) error {
		at = append(at, offset)
		return collect(&scanned)(offset, p)
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, scanned); diff != "" {
		t.Error("Scan:", diff)
	}
	if diff := cmp.Diff(offsets, at); diff != "" {
		t.Error("offsets of Append and Scan differ:", diff)
	}
	if diff := cmp.Diff(want, contents(t, l.path)); diff != "" {
		t.Error("ScanFile:", diff)
	}

	size := l.Size()
	if stat, _ := os.Stat(l.path); stat.Size() != size {
		t.Errorf("Size is %d, the file has %d", size, stat.Size())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Dropped() != 0 {
		t.Errorf("Open dropped %d bytes of a closed log", again.Dropped())
	}
	appendAll(t, again, "five")
	commit(t, again)
	for i, offset := range offsets {
		got, err := again.ReadAt(offset)
		if err != nil || string(got) != want[i] {
			t.Errorf("entry %d after Open: %d bytes, %v", i, len(got), err)
		}
	}
	if diff := cmp.Diff(append(want, "five"), contents(t, l.path)); diff != "" {
		t.Error("after Open and Append:", diff)
	}
}

func TestReadAtFindsEntriesThatAreNotWrittenYet(t *testing.T) {
	t.Parallel()
	l := create(t)
	first := appendAll(t, l, "written")
	commit(t, l)
	later := appendAll(t, l, "pending", "also pending")
	for offset, want := range map[int64]string{first[0]: "written", later[0]: "pending", later[1]: "also pending"} {
		if got, err := l.ReadAt(offset); err != nil || string(got) != want {
			t.Errorf("ReadAt(%d) = %q, %v; want %q", offset, got, err, want)
		}
	}
	if got := contents(t, l.path); len(got) != 1 {
		t.Errorf("the file has %q before Commit", got)
	}
}

func TestReadAtRefusesOffsetsOfNoEntry(t *testing.T) {
	t.Parallel()
	l := create(t)
	offsets := appendAll(t, l, "written entry")
	commit(t, l)
	appendAll(t, l, "pending entry")
	for _, offset := range []int64{-1, 0, offsets[0] + 1, offsets[0] + 4, l.Size() - 9, l.Size(), 1 << 40} {
		if got, err := l.ReadAt(offset); err == nil {
			t.Errorf("ReadAt(%d) = %q", offset, got)
		}
	}
}

func TestAppendBoundsThePayload(t *testing.T) {
	t.Parallel()
	l := create(t)
	for _, size := range []int{0, MaxEntry + 1} {
		if _, err := l.Append(make([]byte, size)); err == nil {
			t.Errorf("Append took %d bytes", size)
		}
	}
}

func TestFlushMakesEntriesVisible(t *testing.T) {
	t.Parallel()
	l := create(t)
	appendAll(t, l, "a", "b")
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, contents(t, l.path)); diff != "" {
		t.Error(diff)
	}
}

func TestScanEndsWithTheErrorOfItsFunction(t *testing.T) {
	t.Parallel()
	l := create(t)
	appendAll(t, l, "a", "b")
	commit(t, l)
	enough := errors.New("enough")
	calls := 0
	stop := func(int64, []byte) error { calls++; return enough }
	if err := l.Scan(stop); err != enough { //nolint:errorlint // The promise is the error itself.
		t.Error(err)
	}
	if err := ScanFile(l.path, stop); err != enough { //nolint:errorlint // The promise is the error itself.
		t.Error(err)
	}
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

func TestCreateRefusesAnExistingFileAndOpenAMissingOne(t *testing.T) {
	t.Parallel()
	l := create(t)
	if _, err := Create(l.path); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := Open(l.path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ content, want string }{
		"another kind of file":   {"{\"custom_id\": \"1\", \"params\": {}}\n", "not a batchwright journal"},
		"short, another kind":    {"hello", "not a batchwright journal"},
		"zeros past the header":  {strings.Repeat("\x00", 100), "not a batchwright journal"},
		"a later format version": {"batchwright journal 2\nwhatever", "another version"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: %v", err)
			}
			if got, _ := os.ReadFile(path); string(got) != tt.content {
				t.Error("Open changed the file")
			}
		})
	}
}

func TestClosedLogRefusesEverything(t *testing.T) {
	t.Parallel()
	l := create(t)
	offsets := appendAll(t, l, "a")
	commit(t, l)
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	_, errAppend := l.Append([]byte("b"))
	_, errRead := l.ReadAt(offsets[0])
	for i, err := range []error{errAppend, errRead, l.Commit(), l.Flush(), l.Scan(nil)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// Holds the promise that entries of many goroutines are durable when their own Commit returned.
func TestConcurrentAppendsAndCommits(t *testing.T) {
	t.Parallel()
	l := create(t)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				payload := fmt.Appendf(nil, "%d/%d", g, i)
				offset, err := l.Append(payload)
				if err != nil {
					t.Error(err)
					return
				}
				if i%5 == 0 {
					if err := l.Flush(); err != nil {
						t.Error(err)
					}
				}
				if got, err := l.ReadAt(offset); err != nil || !bytes.Equal(got, payload) {
					t.Errorf("ReadAt before Commit: %q, %v", got, err)
				}
				if err := l.Commit(); err != nil {
					t.Error(err)
				}
				l.mu.Lock()
				synced := l.synced
				l.mu.Unlock()
				if synced <= offset {
					t.Errorf("entry at %d is not durable after Commit", offset)
				}
			}
		})
	}
	all.Wait()
	if n := len(contents(t, l.path)); n != 400 {
		t.Errorf("%d entries", n)
	}
}
