package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// unfinished is where objects lie in a folder while they are written.
	unfinished = ".unfinished"
	// unfinishedFor is how long nothing must have been written to such a file before it is taken for a killed
	// process's.
	unfinishedFor = time.Hour
	// placeTries bounds how often a folder that others remove is made again for one object.
	placeTries = 100
)

// folderBucket keeps each object as a file. gocloud's fileblob is not used because it syncs nothing, checks whether
// an object exists and then renames over it, so that two processes both create one, and follows "../" out of its folder.
type folderBucket struct{ root *os.Root }

// OpenFolder opens a bucket in a folder, which is made where it is missing, for its owner alone. Processes and
// machines that share its file system can use it at once; it must be able to make hard links, as local file systems
// and NFS are.
func OpenFolder(dir string) (Bucket, error) {
	if err := makeFolder(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	b := &folderBucket{root}
	if err := errors.Join(b.makeFolder(unfinished), SyncDir(filepath.Dir(dir))); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if err := b.sweep(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// sweep removes what killed processes left unfinished.
func (b *folderBucket) sweep() error {
	entries, err := fs.ReadDir(b.root.FS(), unfinished)
	if err != nil {
		return fmt.Errorf("list unfinished objects: %w", err)
	}
	for _, entry := range entries {
		about, err := entry.Info()
		if err != nil || time.Since(about.ModTime()) < unfinishedFor {
			continue // gone, or being written
		}
		if err := b.root.Remove(path.Join(unfinished, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove unfinished object: %w", err)
		}
	}
	return nil
}

func (b *folderBucket) Put(ctx context.Context, key string, content io.Reader) error {
	return b.put(ctx, key, content, func(temp string) error { return b.root.Rename(temp, key) })
}

// PutNew puts the file in place by a hard link, which fails when there is one, on every file system that has links.
func (b *folderBucket) PutNew(ctx context.Context, key string, content io.Reader) error {
	return b.put(ctx, key, content, func(temp string) error { return b.root.Link(temp, key) })
}

func (b *folderBucket) put(ctx context.Context, key string, content io.Reader, place func(temp string) error) error {
	if err := checkKey(key); err != nil {
		return err
	}
	temp := path.Join(unfinished, rand.Text())
	err := b.write(ctx, temp, content)
	if err == nil {
		err = ctx.Err() // one that was given up while the last bytes were synced
	}
	for tries := 0; err == nil; tries++ {
		if err = b.makeFolder(path.Dir(key)); err == nil {
			err = place(temp)
		}
		if !errors.Is(err, fs.ErrNotExist) || tries == placeTries {
			break
		}
		err = nil // a Delete has just removed the folder because it was empty
	}
	// After a rename there is nothing to remove.
	if e := b.root.Remove(temp); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if err == nil {
		err = b.syncFolder(path.Dir(key))
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return nil
}

func (b *folderBucket) write(ctx context.Context, temp string, content io.Reader) error {
	file, err := b.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, reading{ctx, content})
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// reading ends with its context.
type reading struct {
	ctx     context.Context //nolint:containedctx // the reader is one call's own
	content io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.content.Read(p)
}

// makeFolder makes a folder of the bucket and what is missing above it, each durably.
func (b *folderBucket) makeFolder(name string) error {
	if name == "." {
		return nil
	}
	err := b.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.makeFolder(path.Dir(name)); err != nil {
			return err
		}
		err = b.root.Mkdir(name, 0o700)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return b.syncFolder(path.Dir(name))
}

func (b *folderBucket) syncFolder(name string) error {
	folder, err := b.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (b *folderBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	file, err := b.root.Open(key)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	if about, err := file.Stat(); err != nil || about.IsDir() {
		if err == nil {
			err = fs.ErrNotExist // other keys go on from here
		}
		return nil, errors.Join(fmt.Errorf("get %s: %w", key, err), file.Close())
	}
	return file, nil
}

func (b *folderBucket) List(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	from := "."
	if folder := path.Dir(prefix + "x"); folder != "." {
		if err := checkKey(folder); err != nil {
			return nil, err
		}
		from = folder
	}
	err := fs.WalkDir(b.root.FS(), from, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // nothing has that prefix, or it was deleted this moment
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case !entry.IsDir() && strings.HasPrefix(name, prefix) && checkKey(name) == nil:
			keys = append(keys, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	slices.Sort(keys)
	return keys, nil
}

func (b *folderBucket) Delete(ctx context.Context, key string) error {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return err
	}
	if err := b.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	// Folders that are empty now; the first one that has more in it stays, and so do those above.
	for dir := path.Dir(key); dir != "." && b.root.Remove(dir) == nil; {
		dir = path.Dir(dir)
	}
	return nil
}

func (b *folderBucket) Close() error {
	if err := b.root.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
