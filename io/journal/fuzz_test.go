package journal

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// FuzzOpen holds: whatever a file contains, Open refuses it or yields entries whose checksums hold and that fit the
// file, a second Open finds the same, and neither panics.
func FuzzOpen(f *testing.F) {
	whole := appendEntry(appendEntry([]byte(header), []byte("first")), []byte("second"))
	fenced := appendEntry(appendBarrier(append([]byte{}, whole...), int64(len(whole))), []byte("third"))
	for _, seed := range [][]byte{nil, []byte(header), whole, whole[:len(whole)-3], fenced, []byte(header + "\xff\xff\xff\x0f....x")} {
		f.Add(seed)
	}
	damaged := append([]byte{}, fenced...)
	damaged[len(header)+9] ^= 1
	f.Add(damaged)

	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path)
		if err != nil {
			return
		}
		defer l.Close()
		entries := 0
		if err := l.Scan(func(offset int64, p []byte) error {
			entries++
			frame := content[offset:]
			if int(binary.LittleEndian.Uint32(frame)) != len(p) ||
				binary.LittleEndian.Uint32(frame[4:]) != crc32.Checksum(p, castagnoli) ||
				string(frame[frameSize:frameSize+len(p)]) != string(p) {
				t.Errorf("entry at %d does not match its frame", offset)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		again := 0
		if err := ScanFile(path, func(int64, []byte) error { again++; return nil }); err != nil || again != entries {
			t.Errorf("ScanFile found %d of %d entries: %v", again, entries, err)
		}
	})
}
