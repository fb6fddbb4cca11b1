// Package storetest holds every driver of store.Bucket to what the interface promises.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/io/store"
)

// suite is one test on a bucket of its own.
type suite struct {
	t *testing.T
	b store.Bucket
}

// Conformance runs the suite. open gives a bucket with nothing in it, which the suite closes.
func Conformance(t *testing.T, open func(t *testing.T) store.Bucket) {
	t.Helper()
	tests := map[string]func(suite){
		"an object is read as it was put":                     testPut,
		"a put replaces, a reader goes on with the old":       testReplace,
		"of many that create an object one succeeds":          testOneCreates,
		"an object that is there is not created again":        testExists,
		"nothing is stored when the content fails":            testContentFails,
		"nothing is stored when the call is given up":         testGivenUp,
		"keys are listed by prefix, sorted":                   testList,
		"a list has more keys than a page of an object store": testLongList,
		"what is deleted is gone, and may be deleted again":   testDelete,
		"keys that leave the bucket or hide are refused":      testHostileKeys,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := open(t)
			t.Cleanup(func() {
				if err := bucket.Close(); err != nil {
					t.Error(err)
				}
			})
			test(suite{t, bucket})
		})
	}
}

func (s suite) put(key, content string) {
	s.t.Helper()
	if err := s.b.Put(s.t.Context(), key, strings.NewReader(content)); err != nil {
		s.t.Fatal(err)
	}
}

func (s suite) want(key, content string) {
	s.t.Helper()
	reader, err := s.b.Get(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.wantRest(reader, content)
}

func (s suite) wantRest(reader io.ReadCloser, content string) {
	s.t.Helper()
	got, err := io.ReadAll(reader)
	if err = errors.Join(err, reader.Close()); err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Equal(got, []byte(content)) {
		s.t.Errorf("%d bytes %.40q, want %d bytes %.40q", len(got), got, len(content), content)
	}
}

func (s suite) wantNone(key string) {
	s.t.Helper()
	if reader, err := s.b.Get(s.t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("get of what is not there: %v, %v; want fs.ErrNotExist", reader, err)
	}
}

func (s suite) wantKeys(prefix string, want ...string) {
	s.t.Helper()
	got, err := s.b.List(s.t.Context(), prefix)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Concat([]string{}, want), slices.Concat([]string{}, got)); diff != "" {
		s.t.Errorf("keys with prefix %q:\n%s", prefix, diff)
	}
}

func testPut(s suite) {
	large := strings.Repeat("0123456789abcdef", 3<<16)
	for key, content := range map[string]string{"a": "one", "b/c/d.json": "{}", "empty": "", "b/large": large} {
		s.put(key, content)
		s.want(key, content)
	}
	s.wantNone("b/c")
	s.wantNone("none")
}

func testReplace(s suite) {
	s.put("x/y", "old and longer")
	reader, err := s.b.Get(s.t.Context(), "x/y")
	if err != nil {
		s.t.Fatal(err)
	}
	s.put("x/y", "new")
	s.wantRest(reader, "old and longer")
	s.want("x/y", "new")
	s.wantKeys("", "x/y")
}

func testOneCreates(s suite) {
	const rivals = 32
	var created atomic.Int32
	var winner atomic.Value
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range rivals {
		wait.Go(func() {
			<-start
			name := fmt.Sprintf("rival %d", i)
			err := s.b.PutNew(s.t.Context(), "lease/00000001", strings.NewReader(name))
			switch {
			case err == nil:
				created.Add(1)
				winner.Store(name)
			case !errors.Is(err, fs.ErrExist):
				s.t.Errorf("%v, want fs.ErrExist", err)
			}
		})
	}
	close(start)
	wait.Wait()
	if created.Load() != 1 {
		s.t.Fatalf("%d of %d created the object", created.Load(), rivals)
	}
	s.want("lease/00000001", winner.Load().(string)) //nolint:forcetypeassert // stored above
}

func testExists(s suite) {
	s.put("x", "first")
	if err := s.b.PutNew(s.t.Context(), "x", strings.NewReader("second")); !errors.Is(err, fs.ErrExist) {
		s.t.Errorf("%v, want fs.ErrExist", err)
	}
	s.want("x", "first")
	if err := s.b.Delete(s.t.Context(), "x"); err != nil {
		s.t.Fatal(err)
	}
	if err := s.b.PutNew(s.t.Context(), "x", strings.NewReader("third")); err != nil {
		s.t.Fatal(err)
	}
	s.want("x", "third")
}

// broken gives some bytes and then fails.
type broken struct {
	left  int
	cause error
	then  func()
}

func (r *broken) Read(p []byte) (int, error) {
	if r.left == 0 {
		if r.then != nil {
			r.then()
		}
		return 0, r.cause
	}
	n := min(r.left, len(p))
	r.left -= n
	return n, nil
}

func testContentFails(s suite) {
	s.put("old", "stays")
	cause := errors.New("the disk broke")
	for _, size := range []int{1, 1 << 20} {
		for _, key := range []string{"new", "old"} {
			if err := s.b.Put(s.t.Context(), key, &broken{left: size, cause: cause}); !errors.Is(err, cause) {
				s.t.Errorf("%v, want that %v", err, cause)
			}
		}
		if err := s.b.PutNew(s.t.Context(), "new", &broken{left: size, cause: cause}); !errors.Is(err, cause) {
			s.t.Errorf("%v, want that %v", err, cause)
		}
	}
	s.wantNone("new")
	s.want("old", "stays")
	s.wantKeys("", "old")
}

func testGivenUp(s suite) {
	s.put("old", "stays")
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	// Given up while its content is read, and before.
	for range 2 {
		if err := s.b.Put(ctx, "old", &broken{left: 5, cause: io.EOF, then: cancel}); err == nil {
			s.t.Error("no error for a call that was given up")
		}
	}
	if _, err := s.b.List(ctx, ""); err == nil {
		s.t.Error("no error for a list that was given up")
	}
	s.want("old", "stays")
	s.wantKeys("", "old")
}

func testList(s suite) {
	for _, key := range []string{"b/2", "a", "b/10", "b-1", "c/d/e", "b/1"} {
		s.put(key, key)
	}
	s.wantKeys("", "a", "b-1", "b/1", "b/10", "b/2", "c/d/e")
	s.wantKeys("b", "b-1", "b/1", "b/10", "b/2")
	s.wantKeys("b/", "b/1", "b/10", "b/2")
	s.wantKeys("b/1", "b/1", "b/10")
	s.wantKeys("c/d/", "c/d/e")
	s.wantKeys("none/")
	s.wantKeys("a/")
}

func testLongList(s suite) {
	var keys []string
	for i := range 1001 { // object stores list a thousand at once
		key := fmt.Sprintf("k/%04d", i)
		s.put(key, "")
		keys = append(keys, key)
	}
	s.wantKeys("k/", keys...)
}

func testDelete(s suite) {
	s.put("x/y", "1")
	s.put("x/z", "2")
	for range 2 {
		if err := s.b.Delete(s.t.Context(), "x/y"); err != nil {
			s.t.Fatal(err)
		}
	}
	s.wantNone("x/y")
	s.wantKeys("", "x/z")
}

func testHostileKeys(s suite) {
	for _, key := range []string{
		"", ".", "..", "/x", "x/", "../x", "x/../../y", "x//y", "x/./y", ".x", "x/.y", "x y", "x\x00y", `x\y`, "x\ny", "ä",
	} {
		if err := s.b.Put(s.t.Context(), key, strings.NewReader("")); err == nil {
			s.t.Errorf("put took the key %q", key)
		}
		if err := s.b.PutNew(s.t.Context(), key, strings.NewReader("")); err == nil {
			s.t.Errorf("put took the new key %q", key)
		}
		if _, err := s.b.Get(s.t.Context(), key); err == nil || errors.Is(err, fs.ErrNotExist) {
			s.t.Errorf("get took the key %q: %v", key, err)
		}
		if err := s.b.Delete(s.t.Context(), key); err == nil {
			s.t.Errorf("delete took the key %q", key)
		}
	}
	s.wantKeys("")
}
