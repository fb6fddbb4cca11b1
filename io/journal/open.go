package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// CorruptError says that a journal is damaged in a place that a crash cannot explain.
type CorruptError struct {
	Path string
	// Offset is where in the file the first unreadable entry starts, in bytes.
	Offset int64
}

// Error names the file, the place, and what to do.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s is damaged at byte %d, before entries that had been written safely: "+
		"the disk or another program changed it; restore the file from a backup, or set this run aside and start anew with --fresh",
		e.Path, e.Offset)
}

// file is what a log needs of an *os.File; tests put a failing one in its place.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// Create makes a new, empty log and syncs it and its folder. It fails with fs.ErrExist when there is a file already.
func Create(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // The caller names its own file.
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	l := &Log{path: path, f: f}
	if err := errors.Join(l.begin(), syncFolder(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("create journal %s: %w", path, err), f.Close(), os.Remove(path))
	}
	return l, nil
}

// Open opens a log to go on with it. It verifies every entry and cuts off a torn tail, which Dropped then counts; it
// fails with a *CorruptError, and changes nothing, when the file is damaged elsewhere.
func Open(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // The caller names its own file.
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	l := &Log{path: path, f: f}
	if err := l.recover(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// recover finds the end of the good entries, cuts the rest and syncs, because what a killed process wrote may still
// be in the page cache alone.
func (l *Log) recover(f *os.File) error {
	stat, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open journal %s: %w", l.path, err)
	}
	size := stat.Size()
	fresh, end, err := examine(f, l.path, size, func(int64, []byte) error { return nil })
	if err != nil {
		return err
	}
	if fresh {
		if err := l.begin(); err != nil {
			return fmt.Errorf("open journal %s: %w", l.path, err)
		}
		return nil
	}
	if end < size {
		if err := f.Truncate(end); err != nil {
			return fmt.Errorf("cut torn tail of journal %s: %w", l.path, err)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync journal %s: %w", l.path, err)
	}
	l.end, l.synced, l.dropped = end, end, size-end
	l.fence = !l.endsInBarrier()
	return nil
}

// begin writes the header of an empty log.
func (l *Log) begin() error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	if _, err := l.f.WriteAt([]byte(header), 0); err != nil {
		return err
	}
	if err := l.f.Sync(); err != nil {
		return err
	}
	l.end, l.synced = int64(len(header)), int64(len(header))
	return nil
}

// ScanFile calls fn for each entry of the log at path, in order, and may do so while another process writes it. It
// ends without an error at a torn tail, which is also what a write in progress looks like, and with a *CorruptError
// where the file is damaged. The payload is valid until fn returns; an error of fn ends the scan and is returned as it is.
func ScanFile(path string, fn func(offset int64, payload []byte) error) error {
	f, err := os.Open(path) //nolint:gosec // The caller names its own file.
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	stat, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open journal %s: %w", path, err)
	}
	_, _, err = examine(f, path, stat.Size(), fn)
	return err
}

// examine scans the first size bytes of r and decides whether what follows the last good entry is a torn tail.
func examine(r io.ReaderAt, path string, size int64, fn func(int64, []byte) error) (fresh bool, end int64, err error) {
	if fresh, err = checkHeader(r, size); err != nil {
		return false, 0, fmt.Errorf("open journal %s: %w", path, err)
	}
	if fresh {
		return true, 0, nil
	}
	var stopped error
	end, err = scan(r, size, func(offset int64, payload []byte) error {
		stopped = fn(offset, payload)
		return stopped
	})
	if stopped != nil {
		return false, end, stopped
	}
	if err != nil {
		return false, end, fmt.Errorf("scan journal %s at byte %d: %w", path, end, err)
	}
	if end == size {
		return false, end, nil
	}
	synced, err := barrierAfter(r, end, size)
	if err != nil {
		return false, end, fmt.Errorf("scan journal %s at byte %d: %w", path, end, err)
	}
	if synced {
		return false, end, &CorruptError{Path: path, Offset: end}
	}
	return false, end, nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path) //nolint:gosec // The folder of the caller's own file.
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
