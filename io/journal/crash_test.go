package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// groups writes a log of three committed groups and returns the file as the process' death leaves it, the entries,
// and where each group starts.
func groups(t *testing.T) (content []byte, entries []string, starts []int64) {
	t.Helper()
	l := create(t)
	for _, group := range [][]string{{"a", "bb"}, {"ccc", strings.Repeat("d", 40)}, {"eeeee", "ffffff"}} {
		starts = append(starts, l.Size())
		appendAll(t, l, group...)
		commit(t, l)
		entries = append(entries, group...)
	}
	content, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return content, entries, starts
}

// reopen puts content into a file, opens it, appends an entry and returns what a reader then finds.
func reopen(t *testing.T, content []byte) (entries []string, dropped int64, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer l.Close()
	appendAll(t, l, "after")
	commit(t, l)
	return contents(t, path), l.Dropped(), nil
}

// Holds: a log cut at any byte gives a prefix of its entries and takes new ones.
func TestCutAtEveryByteGivesAPrefix(t *testing.T) {
	t.Parallel()
	content, entries, _ := groups(t)
	last := 0
	for size := range len(content) + 1 {
		got, _, err := reopen(t, content[:size])
		if err != nil {
			t.Fatalf("cut at %d: %v", size, err)
		}
		n := len(got) - 1
		if n < last || n > last+1 {
			t.Fatalf("cut at %d: %d entries after %d", size, n, last)
		}
		last = n
		if diff := cmp.Diff(append(append([]string{}, entries[:n]...), "after"), got); diff != "" {
			t.Fatalf("cut at %d: %s", size, diff)
		}
	}
	if last != len(entries) {
		t.Errorf("the whole file gave %d entries", last)
	}
}

// Holds: a changed byte in what was synced is refused with the place of the damage; in the last group, whose sync may
// never have ended, it is a torn tail.
func TestEveryDamagedByteIsRefusedOrTorn(t *testing.T) {
	t.Parallel()
	content, entries, starts := groups(t)
	// The barrier at the start of the last group counts as part of it: with it gone, nothing vouches for what is before.
	vouched := starts[2]
	for i := len(header); i < len(content); i++ {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			damaged := append([]byte{}, content...)
			damaged[i] ^= flip
			got, dropped, err := reopen(t, damaged)
			var corrupt *CorruptError
			if int64(i) < vouched {
				if !errors.As(err, &corrupt) || corrupt.Offset > int64(i) || corrupt.Offset < int64(i)-60 {
					t.Fatalf("byte %d ^ %#x: entries %q, error %v", i, flip, got, err)
				}
				continue
			}
			if err != nil || dropped == 0 {
				t.Fatalf("byte %d ^ %#x in the last group: %v, dropped %d", i, flip, err, dropped)
			}
			if diff := cmp.Diff(append(append([]string{}, entries[:len(got)-1]...), "after"), got); diff != "" {
				t.Fatalf("byte %d ^ %#x: %s", i, flip, diff)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	content, entries, starts := groups(t)
	zeroed := func(from, to int64) []byte {
		c := append([]byte{}, content...)
		clear(c[from:to])
		return c
	}
	closed := appendBarrier(append([]byte{}, content...), int64(len(content)))
	closed[starts[2]+int64(barrierSize)+frameSize] ^= 1

	tests := map[string]struct {
		content []byte
		want    []string // nil: refused
	}{
		"power cut wrote the last group's end but not its start": {zeroed(starts[2], starts[2]+35), entries[:4]},
		"file extended, data never written":                      {append(append([]byte{}, content...), make([]byte, 5000)...), entries},
		"hole in a synced group":                                 {zeroed(starts[1]+30, starts[1]+40), nil},
		"damage in the last group of a closed log":               {closed, nil},
		"creation cut short: nothing":                            {nil, []string{}},
		"creation cut short: zeros":                              {make([]byte, len(header)), []string{}},
		"creation cut short: half a header":                      {[]byte(header[:9]), []string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := reopen(t, tt.content)
			if tt.want == nil {
				var corrupt *CorruptError
				if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), corrupt.Path) {
					t.Fatalf("entries %q, error %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append(append([]string{}, tt.want...), "after"), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusedFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	content, _, starts := groups(t)
	content[starts[1]-1] ^= 1
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(path); err == nil {
		l.Close()
		t.Fatal("Open took a damaged file")
	}
	if got, _ := os.ReadFile(path); string(got) != string(content) {
		t.Error("Open changed the file")
	}
	var got []string
	var corrupt *CorruptError
	if err := ScanFile(path, collect(&got)); !errors.As(err, &corrupt) || len(got) != 1 {
		t.Errorf("ScanFile: %v after %q", err, got)
	}
}

// Holds: a payload that holds a copy of a barrier vouches for nothing.
func TestBarrierInsideAPayloadDoesNotCount(t *testing.T) {
	t.Parallel()
	l := create(t)
	appendAll(t, l, "torn", strings.Repeat(string(appendBarrier(nil, 7)), 50_000))
	commit(t, l)
	content, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(header)+frameSize] ^= 1
	got, _, err := reopen(t, content)
	if err != nil || len(got) != 1 {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

// Holds: a barrier is found wherever it lies with regard to the pieces in which a file is searched.
func TestBarrierIsFoundAcrossPieces(t *testing.T) {
	t.Parallel()
	for shift := range 2*barrierSize + 2 {
		from := int64(len(header))
		content := bytes.Repeat([]byte{0}, int(from)+1<<20-2*barrierSize+shift)
		content = appendBarrier(content, int64(len(content)))
		content = append(content, strings.Repeat("\x00", 3000)...)
		if found, err := barrierAfter(bytes.NewReader(content), from, int64(len(content))); err != nil || !found {
			t.Fatalf("shift %d: %v, %v", shift, found, err)
		}
	}
}

// Holds: groups that were only flushed vouch for nothing, so a hole in one of them is a torn tail; a commit ends that.
func TestFlushedGroupsAreVouchedForByTheNextCommit(t *testing.T) {
	t.Parallel()
	l := create(t)
	for _, entry := range []string{"a", "b", "c"} {
		appendAll(t, l, entry)
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	damaged := func() []byte {
		content, err := os.ReadFile(l.path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(header)+frameSize] ^= 1
		return content
	}
	if got, dropped, err := reopen(t, damaged()); err != nil || len(got) != 1 || dropped == 0 {
		t.Errorf("flushed alone: %q, dropped %d, %v", got, dropped, err)
	}
	commit(t, l)
	appendAll(t, l, "d")
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	var corrupt *CorruptError
	if got, _, err := reopen(t, damaged()); !errors.As(err, &corrupt) {
		t.Errorf("committed since: %q, %v", got, err)
	}
}

func TestOpeningAndClosingDoesNotGrowTheFile(t *testing.T) {
	t.Parallel()
	l := create(t)
	appendAll(t, l, "a")
	commit(t, l)
	var sizes [2]int64
	for i := range sizes {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if l, err = Open(l.path); err != nil {
			t.Fatal(err)
		}
		sizes[i] = l.Size()
	}
	defer l.Close()
	if sizes[0] != sizes[1] {
		t.Errorf("%d bytes, then %d", sizes[0], sizes[1])
	}
}

// Holds: a length that lies does not become memory. Not parallel, because it counts the process' allocations.
func TestLengthsBeyondTheFileAreNotAllocated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(header+"\x00\x00\x00\x10sum!payload"), 0o600); err != nil { // 256 MiB
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := ScanFile(path, func(int64, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("%d bytes allocated for a file of a few", got)
	}
}
