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
	if err := os.WriteFile(path, make([]byte, ballastBytes), 0o600); err != nil {
		s.dropBallast()
		return fmt.Errorf("keep room for answers in flight: %w", err)
	}
	return nil
}

// dropBallast gives the room back.
func (s State) dropBallast() {
	if err := os.Remove(filepath.Join(s.Dir, ballastFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("give back the room kept for answers", slog.Any("error", err))
	}
}
