package coordinator

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// ballastBytes is the room that a run keeps for the answers in flight when the disk fills up.
const ballastBytes = 16 << 20

// keepBallast takes room on the disk that dropBallast can give back. It writes real bytes, because a file with a
// hole takes none.
func (s State) keepBallast() error {
	path := filepath.Join(s.Dir, ballastFile)
	if stat, err := os.Stat(path); err == nil && stat.Size() == ballastBytes {
		return nil
	}
	if err := writeZeros(path, ballastBytes); err != nil {
		s.dropBallast()
		return fmt.Errorf("keep room for answers in flight: %w", err)
	}
	return nil
}

func writeZeros(path string, size int) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the state folder is the user's own
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for written := 0; written < size && err == nil; written += len(zeros) {
		_, err = file.Write(zeros)
	}
	return errors.Join(err, file.Close())
}

// dropBallast gives the room back.
func (s State) dropBallast() {
	if err := os.Remove(filepath.Join(s.Dir, ballastFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("give back the room kept for answers", slog.Any("error", err))
	}
}
