package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/io/store/storetest"
)

// No goroutine outlives what started it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBuckets(t *testing.T) {
	t.Parallel()
	addresses := map[string]func(*testing.T) string{
		"file": func(t *testing.T) string { t.Helper(); return "file://" + t.TempDir() + "/not/there/yet" },
		"mem":  func(*testing.T) string { return "mem://" },
	}
	for name, address := range addresses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Conformance(t, func(t *testing.T) store.Bucket {
				t.Helper()
				b, err := store.OpenBucket(address(t), "job")
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		})
	}
}

func TestOpenBucketRefuses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"", "/tmp/x", "file://host/tmp", "file:relative", "file:///tmp?no_tmp_dir=1", "file:///tmp#x", "http://example.com/x",
	} {
		if b, err := store.OpenBucket(address, "job"); !errors.Is(err, store.ErrScheme) {
			t.Errorf("%q: %v, %v; want ErrScheme", address, b, err)
		}
	}
	if _, err := store.OpenBucket("s3://user:secret@bucket", "job"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v: must be refused, and without the password", err)
	}
}

// Each process opens the folder for itself, so nothing in memory decides who creates an object.
func TestOneOfManyProcessesCreates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 50 {
		var created atomic.Int32
		var wait sync.WaitGroup
		for range 8 {
			b, err := store.OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			wait.Go(func() {
				if b.PutNew(t.Context(), fmt.Sprintf("lease/%d", round), strings.NewReader("x")) == nil {
					created.Add(1)
				}
			})
		}
		wait.Wait()
		if created.Load() != 1 {
			t.Fatalf("round %d: %d created the object", round, created.Load())
		}
	}
}

// Folders that are empty go with the last object, and that hinders nobody who puts one there at the same moment.
func TestEmptyFoldersGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			key := fmt.Sprintf("a/b/%d", i)
			for range 50 {
				if err := b.Put(t.Context(), key, strings.NewReader("x")); err != nil {
					t.Error(err)
				}
				if err := b.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an empty folder is left")
	}
}

// A link that somebody put into the folder leads nowhere.
func TestFolderIsNotLeft(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	b, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Put(t.Context(), "link/x", strings.NewReader("x")); err == nil {
		t.Error("put followed a link out of the folder")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("%v lies outside of the folder", entries)
	}
}

// What a killed process left half-written is no object, and goes when nobody has written to it for an hour.
func TestUnfinishedObjectsAreSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	old, young := filepath.Join(dir, ".unfinished", "OLD"), filepath.Join(dir, ".unfinished", "YOUNG")
	for path, age := range map[string]time.Duration{old: 2 * time.Hour, young: time.Minute} {
		if err := os.WriteFile(path, []byte("half an obj"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if b, err = store.OpenFolder(dir); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if keys, err := b.List(t.Context(), ""); err != nil || len(keys) > 0 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the old one is still there")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("the young one is gone: somebody may be writing it")
	}
}

// Prompts and answers lie in it: nobody else may read them.
func TestFolderIsTheOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "job")
	b, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Put(t.Context(), "a/b", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "a"): 0o700, filepath.Join(dir, "a", "b"): 0o600} {
		if about, err := os.Stat(path); err != nil || about.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, about.Mode(), err, want)
		}
	}
}

func ExampleOpenBucket() {
	ctx := context.Background()
	bucket, err := store.OpenBucket("mem://", "tickets")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bucket.Close()
	for _, owner := range []string{"first", "second"} {
		err := bucket.PutNew(ctx, "lease/00000001", strings.NewReader(owner))
		fmt.Println(owner, errors.Is(err, fs.ErrExist))
	}
	object, err := bucket.Get(ctx, "lease/00000001")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer object.Close()
	content, _ := io.ReadAll(object)
	fmt.Printf("%s\n", content)
	// Output:
	// first false
	// second true
	// first
}
