package coordinator

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// idHashes collects the hashes of a whole input's ids in a temporary file, so that memory does not grow with the
// input: 8 bytes a record lie on the disk, and twice looks at a bounded number of them at a time.
type idHashes struct {
	file  *os.File
	out   *bufio.Writer
	count int64
}

// hashesAtOnce bounds the hashes that are sorted in memory at a time: 2 MiB.
const hashesAtOnce = 256 << 10

func newIDHashes() (*idHashes, error) {
	file, err := os.CreateTemp("", "batchwright-ids-")
	if err != nil {
		return nil, fmt.Errorf("collect ids: %w", err)
	}
	return &idHashes{file: file, out: bufio.NewWriter(file)}, nil
}

func (h *idHashes) add(hash uint64) error {
	h.count++
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], hash)
	if _, err := h.out.Write(b[:]); err != nil {
		return fmt.Errorf("collect ids: %w", err)
	}
	return nil
}

// twice finds up to most hashes that occur more than once. It reads the file once for each hashesAtOnce of them.
func (h *idHashes) twice(most int) (map[uint64]bool, error) {
	if err := h.out.Flush(); err != nil {
		return nil, fmt.Errorf("collect ids: %w", err)
	}
	found := make(map[uint64]bool)
	shares := uint64(h.count/hashesAtOnce) + 1 //nolint:gosec // a count is not negative
	share := make([]uint64, 0, min(h.count, 2*hashesAtOnce))
	for i := range shares {
		share = share[:0]
		if _, err := h.file.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("compare ids: %w", err)
		}
		in := bufio.NewReaderSize(h.file, 64<<10)
		for range h.count {
			var b [8]byte
			if _, err := io.ReadFull(in, b[:]); err != nil {
				return nil, fmt.Errorf("compare ids: %w", err)
			}
			if hash := binary.LittleEndian.Uint64(b[:]); hash%shares == i {
				share = append(share, hash)
			}
		}
		slices.Sort(share)
		for j := 1; j < len(share); j++ {
			if share[j] == share[j-1] {
				if found[share[j]] = true; len(found) >= most {
					return found, nil
				}
			}
		}
	}
	return found, nil
}

func (h *idHashes) close() error {
	return errors.Join(h.file.Close(), os.Remove(h.file.Name()))
}
