package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	header      = headerStem + "1\n"
	headerStem  = "batchwright journal "
	frameSize   = 8
	barrierMark = "\xffbwsync\xff"
	barrierSize = len(barrierMark) + 8 + 4

	// MaxEntry is the largest payload of an entry in bytes.
	MaxEntry = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendEntry adds the framed payload to buf.
func appendEntry(buf, payload []byte) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(payload))) //nolint:gosec // Append bounds it by MaxEntry.
	buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(payload, castagnoli))
	return append(buf, payload...)
}

// appendBarrier adds the barrier that stands at offset in the file to buf.
func appendBarrier(buf []byte, offset int64) []byte {
	start := len(buf)
	buf = append(buf, barrierMark...)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(offset)) //nolint:gosec // Offsets in a file are never negative.
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

// isBarrier reports whether b starts with the barrier that belongs at offset. The offset inside keeps a barrier that
// was copied into a payload from counting.
func isBarrier(b []byte, offset int64) bool {
	return len(b) >= barrierSize && bytes.Equal(b[:barrierSize], appendBarrier(make([]byte, 0, barrierSize), offset))
}

// checkHeader verifies the first bytes of a file. It reports a file whose creation was cut short (nothing in it yet
// but a piece of the header or zeros) as fresh.
func checkHeader(r io.ReaderAt, size int64) (fresh bool, err error) {
	start := make([]byte, min(size, int64(len(header))))
	if _, err := r.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read header: %w", err)
	}
	switch {
	case string(start) == header:
		return false, nil
	case size <= int64(len(header)) && (bytes.HasPrefix([]byte(header), start) || len(bytes.Trim(start, "\x00")) == 0):
		return true, nil
	case bytes.HasPrefix(start, []byte(headerStem)):
		return false, errors.New("its format is of another version; use the batchwright that wrote it")
	default:
		return false, errors.New("it is not a batchwright journal")
	}
}

// scan calls fn for each entry of r between the header and size. It returns where the last good entry or barrier
// ends: before size when a bad one follows. The payload is valid until fn returns.
func scan(r io.ReaderAt, size int64, fn func(offset int64, payload []byte) error) (end int64, err error) {
	var (
		at      = int64(len(header))
		in      = newWindow(r, at, size)
		payload []byte
	)
	for {
		frame, err := in.peek(frameSize)
		if err != nil {
			return at, err
		}
		if len(frame) < frameSize {
			return at, nil
		}
		length := int64(binary.LittleEndian.Uint32(frame))
		sum := binary.LittleEndian.Uint32(frame[4:])
		if length < 1 || length > MaxEntry || length > size-at-frameSize {
			mark, err := in.peek(barrierSize)
			if err != nil {
				return at, err
			}
			if !isBarrier(mark, at) {
				return at, nil
			}
			in.skip(barrierSize)
			at += int64(barrierSize)
			continue
		}
		in.skip(frameSize)
		if int64(cap(payload)) < length {
			payload = make([]byte, length)
		}
		payload = payload[:length]
		whole, err := in.read(payload)
		if err != nil {
			return at, err
		}
		if !whole || crc32.Checksum(payload, castagnoli) != sum {
			return at, nil
		}
		if err := fn(at, payload); err != nil {
			return at, err
		}
		at += frameSize + length
	}
}

// barrierAfter reports whether a barrier stands between from and size, that is, whether the bytes at from had been
// synced.
func barrierAfter(r io.ReaderAt, from, size int64) (bool, error) {
	buf := make([]byte, min(size-from, 1<<20))
	for from+int64(barrierSize) <= size {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read: %w", err)
		}
		for i := 0; ; {
			hit := bytes.Index(buf[i:n], []byte(barrierMark))
			if hit < 0 {
				break
			}
			if isBarrier(buf[i+hit:n], from+int64(i+hit)) {
				return true, nil
			}
			i += hit + 1
		}
		if n < barrierSize { // the file became shorter
			return false, nil
		}
		// The next piece overlaps, so that a barrier across the border is seen whole.
		from += int64(n - barrierSize + 1)
	}
	return false, nil
}
