package store

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeBehind is the size of one write to the disk.
const writeBehind = 256 << 10

// File is a file being written, which nobody sees under its name until Commit. It is for use by one goroutine.
type File struct {
	path     string
	temp     string
	disk     *os.File
	buffered *bufio.Writer
	ended    bool
	failed   error // of Commit
}

// Create starts a new version of the file at path. It makes the folders above it that are missing (mode 0755 less
// the umask) and leaves what is at path as it is. Every File needs Commit or Abort.
func Create(path string) (*File, error) {
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	temp := tempPath(path)
	//nolint:gosec // G302, G304: the user named the file, and the umask decides who may read it
	disk, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &File{path: path, temp: temp, disk: disk, buffered: bufio.NewWriterSize(disk, writeBehind)}, nil
}

// Write appends to the new version, through a buffer. After an error all that is left to do is Abort.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.buffered.Write(p)
	if err != nil {
		return n, fmt.Errorf("write %s: %w", f.path, err)
	}
	return n, nil
}

// Commit puts the new version in the place of the old one, durably. After an error from before the rename the old
// version stands and Abort removes the new one; when only the sync of the folder failed, the new version stands
// and may be gone after a power failure. A failed Commit fails for good: write the file anew.
func (f *File) Commit() error {
	if f.ended {
		return fmt.Errorf("commit %s: %w", f.path, fs.ErrClosed)
	}
	if f.failed == nil {
		// A second sync after a failed one can succeed although the kernel has dropped the pages, so there is none.
		f.failed = f.finish()
	}
	if f.failed != nil {
		return f.failed
	}
	f.ended = true
	return SyncDir(filepath.Dir(f.path))
}

// finish writes the rest of the new version, makes it last, and renames it.
func (f *File) finish() error {
	if err := f.buffered.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := f.disk.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.path, err)
	}
	if err := f.disk.Close(); err != nil {
		return fmt.Errorf("close %s: %w", f.path, err)
	}
	if err := os.Rename(f.temp, f.path); err != nil {
		return fmt.Errorf("put %s in place: %w", f.path, err)
	}
	return nil
}

// Abort gives the new version up and removes what was written of it. After Commit or Abort it does nothing, so that
// it can be deferred.
func (f *File) Abort() error {
	if f.ended {
		return nil
	}
	f.ended = true
	_ = f.disk.Close() // nobody will read what could not be written
	if err := os.Remove(f.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the unfinished %s: %w", f.path, err)
	}
	return nil
}

// WriteFile makes data the content of the file at path, durably and all at once.
func WriteFile(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Commit()
	}
	if err != nil {
		return errors.Join(err, f.Abort())
	}
	return nil
}

// randomBytes sets apart the temporary files of one name.
const randomBytes = 8

// tempPath names a new temporary file for path: ".<base>.<16 hexadecimal digits>.tmp" in the same folder, since a
// rename is atomic only within a file system.
func tempPath(path string) string {
	var random [randomBytes]byte
	_, _ = rand.Read(random[:]) // never fails, by its documentation
	dir, base := filepath.Split(path)
	return filepath.Join(dir, "."+base+"."+hex.EncodeToString(random[:])+tempSuffix)
}
