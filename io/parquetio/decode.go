package parquetio

import (
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go/format"
)

// plainDictionary is what old files call both ends of dictionary encoding.
const plainDictionary format.Encoding = 2

// decoder reads the values of a page in order.
type decoder interface {
	// next reads a value into v.
	next(v *value) error
}

// newDecoder reads the values of a data page in its encoding.
func (l *leafColumn) newDecoder(encoding format.Encoding, data []byte, dictionary []value) (decoder, error) {
	if len(data) == 0 {
		// A page of nothing but nulls, which some writers store without a header of the encoding.
		return &plainBytes{}, nil
	}
	switch encoding {
	case format.Plain:
		return l.plain(data), nil
	case plainDictionary, format.RLEDictionary:
		if data[0] > 32 {
			return nil, errPage
		}
		return &indexes{newRuns(data[1:], int(data[0])), dictionary}, nil
	case format.RLE:
		if l.physical != format.Boolean || len(data) < 4 {
			return nil, errPage
		}
		length := int64(binary.LittleEndian.Uint32(data))
		if length > int64(len(data)-4) {
			return nil, errPage
		}
		return &runValues{newRuns(data[4:4+length], 1)}, nil
	case format.DeltaBinaryPacked:
		if l.physical != format.Int32 && l.physical != format.Int64 {
			return nil, errPage
		}
		d, err := newDeltas(data)
		return &deltaValues{d, l.physical == format.Int32}, err
	case format.DeltaLengthByteArray:
		if l.physical != format.ByteArray {
			return nil, errPage
		}
		return newLengthValues(data)
	case format.DeltaByteArray:
		if l.physical != format.ByteArray && l.physical != format.FixedLenByteArray {
			return nil, errPage
		}
		return l.newPrefixValues(data)
	case format.ByteStreamSplit:
		return l.newSplitValues(data)
	default:
		return nil, fmt.Errorf("encoding %d is not supported", encoding)
	}
}

// plain reads the PLAIN encoding.
func (l *leafColumn) plain(data []byte) decoder {
	switch l.physical {
	case format.Boolean:
		return &plainBits{data: data}
	case format.ByteArray:
		return &plainBytes{data}
	default:
		return &plainFixed{data, l.size(), l.physical}
	}
}

// size is the width of a value in bytes; 0 for those without one.
func (l *leafColumn) size() int {
	switch l.physical {
	case format.Int32, format.Float:
		return 4
	case format.Int64, format.Double:
		return 8
	case format.Int96:
		return 12
	case format.FixedLenByteArray:
		return l.length
	default:
		return 0
	}
}

type plainBits struct {
	data []byte
	at   int
}

func (d *plainBits) next(v *value) error {
	if d.at/8 >= len(d.data) {
		return errPage
	}
	v.n = int64(d.data[d.at/8] >> (d.at % 8) & 1)
	d.at++
	return nil
}

type plainFixed struct {
	data     []byte
	size     int
	physical format.Type
}

func (d *plainFixed) next(v *value) error {
	if len(d.data) < d.size {
		return errPage
	}
	setFixed(v, d.data[:d.size:d.size], d.physical)
	d.data = d.data[d.size:]
	return nil
}

// setFixed reads a value of fixed width.
func setFixed(v *value, stored []byte, physical format.Type) {
	switch physical {
	case format.Int32, format.Float:
		v.n = int64(int32(binary.LittleEndian.Uint32(stored))) //nolint:gosec // the stored bits
	case format.Int64, format.Double:
		v.n = int64(binary.LittleEndian.Uint64(stored)) //nolint:gosec // the stored bits
	default:
		v.b = stored
	}
}

type plainBytes struct{ data []byte }

func (d *plainBytes) next(v *value) error {
	if len(d.data) < 4 {
		return errPage
	}
	length := int64(binary.LittleEndian.Uint32(d.data))
	if length > int64(len(d.data)-4) {
		return errPage
	}
	v.b, d.data = d.data[4:4+length:4+length], d.data[4+length:]
	return nil
}

// indexes reads places in a dictionary.
type indexes struct {
	runs       runs
	dictionary []value
}

func (d *indexes) next(v *value) error {
	at, err := d.runs.next()
	if err != nil {
		return err
	}
	if uint64(at) >= uint64(len(d.dictionary)) {
		return fmt.Errorf("%w: it names a value beyond its dictionary", errPage)
	}
	*v = d.dictionary[at]
	return nil
}

// runValues reads booleans in runs.
type runValues struct{ runs runs }

func (d *runValues) next(v *value) error {
	n, err := d.runs.next()
	v.n = int64(n)
	return err
}

type deltaValues struct {
	deltas deltas
	narrow bool
}

func (d *deltaValues) next(v *value) (err error) {
	v.n, err = d.deltas.next()
	if d.narrow {
		v.n = int64(int32(v.n)) //nolint:gosec // 32-bit deltas wrap
	}
	return err
}

// readLengths reads the numbers of a DELTA_BINARY_PACKED block, and finds what follows it. The numbers are gone
// through twice, so that no memory is set aside for as many as a block claims to have.
func readLengths(data []byte) (lengths deltas, rest []byte, err error) {
	if lengths, err = newDeltas(data); err != nil {
		return lengths, nil, err
	}
	ahead := lengths
	for ahead.left > 0 {
		if _, err := ahead.next(); err != nil {
			return lengths, nil, err
		}
	}
	return lengths, ahead.data, nil
}

// lengthValues reads DELTA_LENGTH_BYTE_ARRAY: all lengths, then all bytes.
type lengthValues struct {
	lengths deltas
	data    []byte
}

func newLengthValues(data []byte) (*lengthValues, error) {
	lengths, rest, err := readLengths(data)
	return &lengthValues{lengths, rest}, err
}

func (d *lengthValues) next(v *value) error {
	n, err := d.lengths.next()
	if err != nil {
		return err
	}
	if n < 0 || n > int64(len(d.data)) {
		return errPage
	}
	v.b, d.data = d.data[:n:n], d.data[n:]
	return nil
}

// prefixValues reads DELTA_BYTE_ARRAY: how much of the value before each value starts with, then the rests.
type prefixValues struct {
	prefixes deltas
	suffixes *lengthValues
	last     []byte
	size     int
}

func (l *leafColumn) newPrefixValues(data []byte) (*prefixValues, error) {
	prefixes, rest, err := readLengths(data)
	if err != nil {
		return nil, err
	}
	suffixes, err := newLengthValues(rest)
	return &prefixValues{prefixes: prefixes, suffixes: suffixes, size: l.size()}, err
}

func (d *prefixValues) next(v *value) error {
	var suffix value
	if err := d.suffixes.next(&suffix); err != nil {
		return err
	}
	prefix, err := d.prefixes.next()
	if err != nil {
		return err
	}
	if prefix < 0 || prefix > int64(len(d.last)) {
		return errPage
	}
	d.last = append(d.last[:prefix], suffix.b...)
	if d.size > 0 && len(d.last) != d.size {
		return errPage
	}
	v.b = d.last
	return nil
}

// splitValues reads BYTE_STREAM_SPLIT: the first bytes of all values, then the second ones, and so on.
type splitValues struct {
	data        []byte
	at, count   int
	size        int
	physical    format.Type
	reassembled []byte
}

func (l *leafColumn) newSplitValues(data []byte) (*splitValues, error) {
	size := l.size()
	if size == 0 || l.physical == format.Int96 || len(data)%size != 0 {
		return nil, errPage
	}
	return &splitValues{data: data, count: len(data) / size, size: size, physical: l.physical, reassembled: make([]byte, size)}, nil
}

func (d *splitValues) next(v *value) error {
	if d.at >= d.count {
		return errPage
	}
	for i := range d.reassembled {
		d.reassembled[i] = d.data[i*d.count+d.at]
	}
	d.at++
	setFixed(v, d.reassembled, d.physical)
	return nil
}
