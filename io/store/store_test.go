package store

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	return found
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Nobody sees a version before it is committed, and nothing else is left in the folder after it.
func TestCommitReplacesAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "out.jsonl")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(strings.Repeat("new", writeBehind))); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "old" {
		t.Errorf("before Commit the file holds %d bytes, want the old version", len(got))
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != strings.Repeat("new", writeBehind) {
		t.Errorf("after Commit the file holds %d bytes, want %d", len(got), 3*writeBehind)
	}
	if diff := cmp.Diff([]string{"out.jsonl"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
	if err := f.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Commit: %v, want it refused", err)
	}
	if got := content(t, path); !strings.HasPrefix(got, "new") {
		t.Error("Abort after Commit took the file away")
	}
}

func TestAbortLeavesTheOldVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "out.jsonl")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if len(names(t, dir)) != 2 {
		t.Errorf("folder holds %v, want the file and a temporary one", names(t, dir))
	}
	for range 2 {
		if err := f.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"out.jsonl"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
	if got := content(t, path); got != "old" {
		t.Errorf("the file holds %q, want the old version", got)
	}
}

func TestCreateMakesFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "out.jsonl")
	if err := WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "" {
		t.Errorf("the file holds %q, want nothing", got)
	}
	if err := WriteFile(filepath.Join(path, "c", "d"), nil); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("error %v, want ENOTDIR", err)
	}
	if err := WriteFile(filepath.Join(path, "c"), nil); err == nil || !strings.Contains(err.Error(), "a folder is needed") {
		t.Errorf("error %v, want one that says a file is in the way", err)
	}
}

// A full disk is known as such by the error of Write and of Commit, and the old version stands.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		size int
	}{{"at Commit", 10}, {"at Write", 2 * writeBehind}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "out.jsonl")
			if err := WriteFile(path, []byte("old")); err != nil {
				t.Fatal(err)
			}
			f, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip("this system has no /dev/full")
			}
			if err := f.disk.Close(); err != nil {
				t.Fatal(err)
			}
			f.disk, f.buffered = full, bufio.NewWriterSize(full, writeBehind)
			_, err = f.Write(make([]byte, test.size))
			if test.size < writeBehind && err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{err, f.Commit()} {
				if err != nil && (!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path)) {
					t.Errorf("error %v, want one that wraps ENOSPC and names the file", err)
				}
			}
			if err := f.Commit(); err == nil {
				t.Error("Commit succeeded after a failed write")
			}
			if err := f.Abort(); err != nil {
				t.Fatal(err)
			}
			if got := content(t, path); got != "old" || len(names(t, dir)) != 1 {
				t.Errorf("folder holds %v and the file %q, want the old version alone", names(t, dir), got)
			}
		})
	}
}

// After a failed sync the kernel may have dropped what was written, so a second Commit must not succeed.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	from, pipe, err := os.Pipe() // which cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	defer pipe.Close()
	disk := f.disk
	f.disk = pipe
	if err := f.Commit(); err == nil || !strings.Contains(err.Error(), "sync "+path) {
		t.Fatalf("error %v, want that the sync failed", err)
	}
	f.disk = disk
	if err := f.Commit(); err == nil {
		t.Error("Commit succeeded after a failed sync")
	}
	if err := f.Abort(); err != nil {
		t.Fatal(err)
	}
}

// When the rename fails, WriteFile leaves no temporary file.
func TestWriteFileCleansUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x")); err == nil || !strings.Contains(err.Error(), "put "+path+" in place") {
		t.Errorf("error %v, want that the file cannot take the place of a folder", err)
	}
	if diff := cmp.Diff([]string{"out"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

func TestRemoveTemps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := filepath.Base(tempPath("out"))
	kept := []string{
		filepath.Base(tempPath("out.jsonl")), filepath.Base(tempPath("other")),
		".out.0123.tmp", ".out.0123456789abcdeg.tmp", ".out.0123456789abcdef", "out", "out.0123456789abcdef.tmp",
	}
	for _, name := range append(kept, left) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTemps(dir, "out"); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, name := range names(t, dir) {
		found[name] = true
	}
	if found[left] {
		t.Errorf("%s is still there", left)
	}
	for _, name := range kept {
		if !found[name] {
			t.Errorf("%s is gone", name)
		}
	}
	if err := RemoveTemps(filepath.Join(dir, "none"), "out"); err != nil {
		t.Errorf("in a folder that does not exist: %v", err)
	}
}

func TestSyncDirNamesTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := SyncDir(dir); err != nil {
		t.Error(err)
	}
	none := filepath.Join(dir, "none")
	if err := SyncDir(none); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), none) {
		t.Errorf("error %v, want one that wraps not-exist and names the folder", err)
	}
}

func ExampleCreate() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "out", "answers.jsonl")
	f, err := Create(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Abort() // does nothing after Commit
	fmt.Fprintln(f, `{"answer":42}`)
	_, err = os.Stat(path)
	fmt.Println("there before Commit:", err == nil)
	if err := f.Commit(); err != nil {
		fmt.Println(err)
		return
	}
	_, err = os.Stat(path)
	fmt.Println("there after:", err == nil)
	// Output:
	// there before Commit: false
	// there after: true
}
