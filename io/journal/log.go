package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// firstRead is how much is read for an entry before its length is known: a short answer with what goes around it.
const firstRead = 1 << 10

// keptBuffer bounds the memory that a log keeps between two groups, so that one large group is not held for ever.
const keptBuffer = 1 << 20

// ErrClosed is returned by every method of a log after Close.
var ErrClosed = errors.New("journal is closed")

// Log is a log open for appending. Its methods may be called from many goroutines: entries that come while one Commit
// runs are made durable together by the next (group commit).
type Log struct {
	path string
	f    file

	writer sync.Mutex // held by the one goroutine that writes to the file

	mu      sync.Mutex // guards what follows
	end     int64      // bytes written to the file
	synced  int64      // bytes of those that are durable
	writing group      // lies at end; kept after a failed write, to be tried again
	pending []byte     // follows writing
	fence   bool       // whether all bytes before pending will be durable when it is written
	spare   []byte
	dropped int64
	broken  error
}

// group is what one write puts into the file.
type group struct {
	bytes []byte
	// sync is part of the group: a barrier in what follows relies on it.
	sync bool
}

// Append adds an entry and returns its offset in the file. The entry is in memory alone until Commit or Flush.
// The payload has 1 byte to MaxEntry; it is copied.
func (l *Log) Append(payload []byte) (offset int64, err error) {
	if len(payload) == 0 || len(payload) > MaxEntry {
		return 0, fmt.Errorf("append to journal %s: an entry has 1 to %d bytes, not %d", l.path, MaxEntry, len(payload))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return 0, l.broken
	}
	base := l.end + int64(len(l.writing.bytes))
	if len(l.pending) == 0 && l.fence {
		l.pending = appendBarrier(l.pending, base)
	}
	offset = base + int64(len(l.pending))
	l.pending = appendEntry(l.pending, payload)
	return offset, nil
}

// Commit makes every entry appended before the call durable.
//
// After a failed write (disk full, for one) the log goes on: the entries stay in memory, and a later Commit tries
// again. After a failed sync nobody knows which pages are on the disk, and the kernel may report success the next
// time although they are not; so the log is then broken for good, the file is cut back to what is certainly durable,
// and every later call returns the same error. Open it again to go on.
func (l *Log) Commit() error { return l.drain(true) }

// Flush writes every entry appended before the call to the file without syncing: it survives the death of the
// process, not of the machine. Failed writes are as in Commit.
func (l *Log) Flush() error { return l.drain(false) }

func (l *Log) drain(durable bool) error {
	l.writer.Lock()
	defer l.writer.Unlock()
	// First what an earlier failed write left behind, then what came after it.
	if err := l.write(); err != nil {
		return err
	}
	l.mu.Lock()
	if len(l.pending) > 0 {
		l.writing = group{l.pending, durable}
		l.pending, l.spare = l.spare[:0], nil
		l.fence = durable
	}
	l.mu.Unlock()
	if err := l.write(); err != nil || !durable {
		return err
	}
	return l.sync() // of groups that Flush wrote
}

// write puts the group in l.writing into the file. The caller holds l.writer.
func (l *Log) write() error {
	l.mu.Lock()
	g, at, broken := l.writing, l.end, l.broken
	l.mu.Unlock()
	if broken != nil || len(g.bytes) == 0 {
		return broken
	}
	if _, err := l.f.WriteAt(g.bytes, at); err != nil {
		// Room for others, and a clean end for readers. If this fails too, the next try overwrites the same bytes.
		_ = l.f.Truncate(at)
		return fmt.Errorf("write journal %s: %w", l.path, err)
	}
	l.mu.Lock()
	l.end += int64(len(g.bytes))
	l.writing = group{}
	if cap(g.bytes) <= keptBuffer {
		l.spare = g.bytes[:0]
	}
	l.mu.Unlock()
	if g.sync {
		return l.sync()
	}
	return nil
}

// sync makes all that is written durable. The caller holds l.writer.
func (l *Log) sync() error {
	l.mu.Lock()
	end, synced := l.end, l.synced
	l.mu.Unlock()
	if synced == end {
		return nil
	}
	err := l.f.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		_ = l.f.Truncate(synced)
		l.broken = fmt.Errorf("sync journal %s: %w", l.path, err)
		return l.broken
	}
	l.synced = end
	l.fence = l.fence || len(l.pending) == 0
	return nil
}

// ReadAt returns the entry at an offset that Append or Scan gave, written or not. The caller owns the result.
func (l *Log) ReadAt(offset int64) ([]byte, error) {
	l.mu.Lock()
	if errors.Is(l.broken, ErrClosed) {
		l.mu.Unlock()
		return nil, l.broken
	}
	end, next := l.end, l.end+int64(len(l.writing.bytes))
	if offset >= end {
		defer l.mu.Unlock()
		in := memory{l.writing.bytes, end}
		if offset >= next {
			in = memory{l.pending, next}
		}
		return l.entry(in, offset, in.base+int64(len(in.bytes)))
	}
	l.mu.Unlock()
	return l.entry(l.f, offset, end)
}

// entry reads the entry at offset from r, which ends at end.
func (l *Log) entry(r io.ReaderAt, offset, end int64) ([]byte, error) {
	if offset < int64(len(header)) || offset > end-frameSize {
		return nil, fmt.Errorf("read journal %s: no entry at byte %d", l.path, offset)
	}
	// Most entries come whole with the first read.
	first := make([]byte, min(firstRead, end-offset))
	if _, err := r.ReadAt(first, offset); err != nil {
		return nil, fmt.Errorf("read journal %s at byte %d: %w", l.path, offset, err)
	}
	frame, payload := first[:frameSize], first[frameSize:]
	length := int64(binary.LittleEndian.Uint32(frame))
	if length < 1 || length > MaxEntry || length > end-offset-frameSize {
		return nil, &CorruptError{Path: l.path, Offset: offset}
	}
	if have := int64(len(payload)); have >= length {
		payload = payload[:length:length]
	} else {
		payload = append(make([]byte, 0, length), payload...)[:length]
		if _, err := r.ReadAt(payload[have:], offset+frameSize+have); err != nil {
			return nil, fmt.Errorf("read journal %s at byte %d: %w", l.path, offset, err)
		}
	}
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(frame[4:]) {
		return nil, &CorruptError{Path: l.path, Offset: offset}
	}
	return payload, nil
}

// Scan calls fn for each entry that is written to the file, in order; entries that wait for Commit or Flush are not
// among them. The payload is valid until fn returns; an error of fn ends the scan and is returned as it is.
func (l *Log) Scan(fn func(offset int64, payload []byte) error) error {
	l.mu.Lock()
	size, broken := l.end, l.broken
	l.mu.Unlock()
	if errors.Is(broken, ErrClosed) {
		return broken
	}
	_, end, err := examine(l.f, l.path, size, fn)
	if err == nil && end < size { // Open or this log itself had found or written it whole
		return &CorruptError{Path: l.path, Offset: end}
	}
	return err
}

// Size is the number of bytes that the file has once all entries are written.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end + int64(len(l.writing.bytes)+len(l.pending))
}

// Dropped is the number of bytes that Open cut off as a torn tail.
func (l *Log) Dropped() int64 { return l.dropped }

// Close closes the file. Entries that were neither committed nor flushed are lost, and entries only flushed are not
// synced. A log that is wholly durable is ended with a barrier, so that damage to any of it is noticed from then on.
func (l *Log) Close() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.broken, ErrClosed) {
		return nil
	}
	idle := l.broken == nil && len(l.writing.bytes) == 0 && len(l.pending) == 0
	l.broken = ErrClosed
	if idle && l.synced == l.end && l.end > int64(len(header)) && !l.endsInBarrier() {
		if _, err := l.f.WriteAt(appendBarrier(nil, l.end), l.end); err != nil {
			_ = l.f.Truncate(l.end) // the barrier only helps to find damage; no entry depends on it
		}
	}
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("close journal %s: %w", l.path, err)
	}
	return nil
}

func (l *Log) endsInBarrier() bool {
	var tail [barrierSize]byte
	at := l.end - int64(barrierSize)
	if at < int64(len(header)) {
		return false
	}
	_, err := l.f.ReadAt(tail[:], at)
	return err == nil && isBarrier(tail[:], at)
}
