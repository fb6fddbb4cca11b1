package parquetio

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

var errPage = errors.New("a page is damaged")

// runs reads the hybrid of run-length and bit-packed runs that holds levels, dictionary indexes and booleans (the
// format's Encodings page, "RLE = 3"), one value at a time, so that a run of a billion costs nothing.
type runs struct {
	data  []byte
	width int
	// left is what the current run still has; packed says of which sort it is.
	left   uint64
	packed bool
	same   uint32
	// Packed values wait in buffer, the next in its lowest bits.
	buffer uint64
	filled int
}

// newRuns starts reading values of width bits.
func newRuns(data []byte, width int) runs { return runs{data: data, width: width} }

func (r *runs) next() (uint32, error) {
	for r.left == 0 {
		if err := r.nextRun(); err != nil {
			return 0, err
		}
	}
	r.left--
	if !r.packed {
		return r.same, nil
	}
	for r.filled < r.width {
		if len(r.data) == 0 {
			return 0, errPage
		}
		r.buffer |= uint64(r.data[0]) << r.filled
		r.filled += 8
		r.data = r.data[1:]
	}
	n := uint32(r.buffer & (1<<r.width - 1)) //nolint:gosec // at most 32 bits
	r.buffer >>= r.width
	r.filled -= r.width
	return n, nil
}

func (r *runs) nextRun() error {
	head, n := binary.Uvarint(r.data)
	if n <= 0 {
		return errPage
	}
	r.data = r.data[n:]
	if r.packed = head&1 != 0; r.packed {
		r.left, r.buffer, r.filled = head>>1*8, 0, 0
		return nil
	}
	r.left = head >> 1
	size := (r.width + 7) / 8
	if len(r.data) < size {
		return errPage
	}
	r.same = 0
	for i, b := range r.data[:size] {
		r.same |= uint32(b) << (8 * i)
	}
	if r.width < 32 && r.same>>r.width != 0 {
		return errPage
	}
	r.data = r.data[size:]
	return nil
}

// levels reads repetition or definition levels up to most; none are stored when most is 0.
type levels struct {
	runs runs
	most int
}

func newLevels(data []byte, most int) levels {
	return levels{newRuns(data, bits.Len(uint(most))), most}
}

func (l *levels) next() (int, error) {
	if l.most == 0 {
		return 0, nil
	}
	n, err := l.runs.next()
	if err == nil && int(n) > l.most {
		err = errPage
	}
	return int(n), err
}

// deltas reads DELTA_BINARY_PACKED numbers (the format's Encodings page, "DELTA_BINARY_PACKED = 5").
type deltas struct {
	data []byte
	// left counts the numbers that are still to come.
	left   uint64
	value  int64
	first  bool
	minis  int
	size   int
	delta  int64
	widths []byte
	// mini counts what the current miniblock still has, of width bits at bit place at of packed.
	mini   int
	width  int
	packed []byte
	at     int
}

// maxMiniblock bounds the numbers of a miniblock; writers use 32, or 64 for 64-bit numbers.
const maxMiniblock = 1 << 16

// newDeltas starts reading. After the last number, data is what follows the block.
func newDeltas(data []byte) (deltas, error) {
	d := deltas{first: true}
	var head [3]uint64
	for i := range head {
		number, n := binary.Uvarint(data)
		if n <= 0 {
			return d, errPage
		}
		head[i], data = number, data[n:]
	}
	value, n := binary.Varint(data)
	if n <= 0 || head[1] == 0 || head[1] > maxMiniblock || head[0]%head[1] != 0 ||
		head[0]/head[1]%8 != 0 || head[0]/head[1] > maxMiniblock || head[0] == 0 {
		return d, errPage
	}
	d.data, d.left, d.value = data[n:], head[2], value
	d.minis, d.size = int(head[1]), int(head[0]/head[1]) //nolint:gosec // bounded above
	return d, nil
}

func (d *deltas) next() (int64, error) {
	if d.left == 0 {
		return 0, errPage
	}
	d.left--
	if d.first {
		d.first = false
		return d.value, nil
	}
	if d.mini == 0 {
		if err := d.nextMiniblock(); err != nil {
			return 0, err
		}
	}
	d.mini--
	d.value += d.delta + d.bits()
	return d.value, nil
}

func (d *deltas) nextMiniblock() error {
	if len(d.widths) == 0 {
		delta, n := binary.Varint(d.data)
		if n <= 0 || len(d.data)-n < d.minis {
			return errPage
		}
		d.delta, d.widths, d.data = delta, d.data[n:n+d.minis], d.data[n+d.minis:]
	}
	d.width, d.widths = int(d.widths[0]), d.widths[1:]
	size := d.size / 8 * d.width
	if d.width > 64 || size > len(d.data) {
		return errPage
	}
	d.packed, d.data = d.data[:size], d.data[size:]
	d.mini, d.at = d.size, 0
	return nil
}

// bits reads the next packed number.
func (d *deltas) bits() int64 {
	n, got := uint64(0), 0
	for got < d.width {
		shift := d.at % 8
		take := min(8-shift, d.width-got)
		n |= uint64(d.packed[d.at/8]>>shift) & (1<<take - 1) << got
		got += take
		d.at += take
	}
	return int64(n)
}
