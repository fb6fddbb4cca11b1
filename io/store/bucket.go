package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"gocloud.dev/blob/memblob"
)

// Bucket keeps objects under keys. Whoever lists or reads sees an object whole or not at all. Keys are
// one or more names of letters, digits, "-", "_" and "." with slashes between them; no name begins with a dot. All
// methods may be called from many goroutines and processes.
//
// An error says nothing about whether the store did what it was asked, and a request that was given up may still be
// carried out later: what must not be undone by that needs a key that is used once.
type Bucket interface {
	// Put stores an object, in place of an earlier one. When it returns nil the object lasts; when content fails
	// nothing is stored.
	Put(ctx context.Context, key string, content io.Reader) error
	// PutNew stores an object unless there is one of that key: then it fails with fs.ErrExist and changes nothing.
	PutNew(ctx context.Context, key string, content io.Reader) error
	// Get opens an object; fs.ErrNotExist when there is none.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// List gives the keys that begin with prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
	// Delete removes an object. That there is none is no error.
	Delete(ctx context.Context, key string) error
	Close() error
}

// ErrScheme says that a URL names no kind of store that there is a driver for.
var ErrScheme = errors.New("not a store that state can be kept in: write file:///FOLDER")

// OpenBucket opens the folder called name below the address of a store. file:///FOLDER is a folder, on a disk or
// file system that the machines share, and is made where it is missing; mem:// is memory of this process, a new
// one with each call. ErrScheme for every other address.
func OpenBucket(address, name string) (Bucket, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path) && u.RawQuery == "" && u.Fragment == "":
		return OpenFolder(filepath.Join(filepath.FromSlash(u.Path), name))
	case u.Scheme == "mem":
		return Blobs(memblob.OpenBucket(nil)), nil
	}
	return nil, fmt.Errorf("open store %s: %w", u.Redacted(), ErrScheme)
}

// checkKey refuses what is no key. Nothing else keeps a key within its folder in every driver.
func checkKey(key string) error {
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name[0] == '.' || strings.ContainsFunc(name, notInKey) {
			return fmt.Errorf("%q is no key of an object", key)
		}
	}
	return nil
}

func notInKey(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		return false
	}
	return true
}
