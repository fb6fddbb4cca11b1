package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const tempSuffix = ".tmp"

// SyncDir makes the names in a folder last: new, renamed and removed files survive a power failure after it.
func SyncDir(dir string) error {
	folder, err := os.Open(dir) //nolint:gosec // G304: the caller owns the folder
	if err != nil {
		return fmt.Errorf("open folder %s: %w", dir, err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// RemoveTemps removes the temporary files that a crash left in dir of files called base. Nobody may be writing such
// a file at that time. A folder that does not exist holds none.
func RemoveTemps(dir, base string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list folder %s: %w", dir, err)
	}
	for _, entry := range entries {
		if !isTemp(entry.Name(), base) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	return nil
}

// isTemp reports whether name is a temporary file of base itself, not of a file whose name goes on after base.
func isTemp(name, base string) bool {
	random, ok := strings.CutPrefix(name, "."+base+".")
	if !ok {
		return false
	}
	random, ok = strings.CutSuffix(random, tempSuffix)
	decoded, err := hex.DecodeString(random)
	return ok && err == nil && len(decoded) == randomBytes
}

// makeFolder makes dir and what is missing above it, each durably: a synced file is lost all the same when the
// folder that it is in was never written down.
func makeFolder(dir string) error {
	switch found, err := os.Stat(dir); {
	case err == nil && !found.IsDir():
		return fmt.Errorf("%s is a file where a folder is needed", dir)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look for folder %s: %w", dir, err)
	}
	above := filepath.Dir(dir)
	if err := makeFolder(above); err != nil {
		return err
	}
	//nolint:gosec // G301: a folder of output that the user named; the umask decides who may read it
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder %s: %w", dir, err)
	}
	return SyncDir(above)
}
