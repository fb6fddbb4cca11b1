package parquetio

import (
	"encoding/binary"
	"errors"
)

// Types of the Thrift compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

// maxThriftDepth bounds the nesting of structs and lists; Parquet's own metadata stays below 10.
const maxThriftDepth = 32

var errThrift = errors.New("its metadata is malformed")

// thriftReader reads Thrift compact structs from bytes. The first fault sticks: from then on all values are zero
// and every struct and list is at its end. Nothing is allocated but what callers append.
type thriftReader struct {
	data  []byte
	at    int
	depth int
	err   error
}

func (r *thriftReader) fail() {
	if r.err == nil {
		r.err = errThrift
	}
	r.at = len(r.data)
}

// left counts the bytes that are still to be read.
func (r *thriftReader) left() uint64 {
	return uint64(len(r.data) - r.at) //nolint:gosec // at is never beyond the data
}

func (r *thriftReader) byte() byte {
	if r.at >= len(r.data) {
		r.fail()
		return 0
	}
	b := r.data[r.at]
	r.at++
	return b
}

func (r *thriftReader) uvarint() uint64 {
	u, n := binary.Uvarint(r.data[r.at:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.at += n
	return u
}

// int reads a whole number of any width.
func (r *thriftReader) int() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *thriftReader) string() string {
	n := r.uvarint()
	if n > r.left() {
		r.fail()
		return ""
	}
	s := string(r.data[r.at : r.at+int(n)]) //nolint:gosec // bounded above
	r.at += int(n)                          //nolint:gosec // bounded above
	return s
}

// fields calls field with the id and type of each field of a struct. It reads the field and returns true, or
// returns false to have it skipped. A struct that lacks a required field is malformed.
func (r *thriftReader) fields(required fieldSet, field func(id int, typ byte) bool) {
	if r.depth++; r.depth > maxThriftDepth {
		r.fail()
	}
	defer func() { r.depth-- }()
	id, read := 0, fieldSet(0)
	for r.err == nil {
		head := r.byte()
		if head == 0 {
			if required&^read != 0 {
				r.fail()
			}
			return
		}
		if delta := int(head >> 4); delta != 0 {
			id += delta
		} else {
			id = int(r.int())
		}
		if typ := head & 0x0f; field(id, typ) {
			read |= fields(id)
		} else {
			r.skip(typ)
		}
	}
}

// fieldSet is a set of ids below 64.
type fieldSet uint64

func fields(ids ...int) fieldSet {
	set := fieldSet(0)
	for _, id := range ids {
		set |= 1 << (id & 63)
	}
	return set
}

// list calls element for each element of a list, with the number of elements left, itself included. An element
// takes at least least bytes, so that a list cannot claim more elements than there is room for.
func (r *thriftReader) list(least int, element func(left int, typ byte)) {
	if r.depth++; r.depth > maxThriftDepth {
		r.fail()
	}
	defer func() { r.depth-- }()
	head := r.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = r.uvarint()
	}
	if size > r.left()/uint64(least) { //nolint:gosec // constants of callers
		r.fail()
		return
	}
	for left := int(size); left > 0 && r.err == nil; left-- {
		element(left, head&0x0f)
	}
}

// skip reads a field's value away.
func (r *thriftReader) skip(typ byte) {
	if typ == thriftTrue || typ == thriftFalse {
		return // the value is the type
	}
	r.skipElement(typ)
}

// skipElement reads a list's element away; booleans take a byte there.
func (r *thriftReader) skipElement(typ byte) {
	switch typ {
	case thriftTrue, thriftFalse, thriftByte:
		r.byte()
	case thriftI16, thriftI32, thriftI64:
		r.uvarint()
	case thriftDouble:
		r.skipBytes(8)
	case thriftUUID:
		r.skipBytes(16)
	case thriftBinary:
		r.skipBytes(r.uvarint())
	case thriftList, thriftSet:
		r.list(1, func(_ int, typ byte) { r.skipElement(typ) })
	case thriftStruct:
		r.fields(0, func(int, byte) bool { return false })
	case thriftMap:
		r.skipMap()
	default:
		r.fail()
	}
}

func (r *thriftReader) skipMap() {
	size := r.uvarint()
	if size == 0 {
		return
	}
	types := r.byte()
	if size > r.left() || r.depth >= maxThriftDepth {
		r.fail()
		return
	}
	r.depth++
	defer func() { r.depth-- }()
	for ; size > 0 && r.err == nil; size-- {
		r.skipElement(types >> 4)
		r.skipElement(types & 0x0f)
	}
}

func (r *thriftReader) skipBytes(n uint64) {
	if n > r.left() {
		r.fail()
		return
	}
	r.at += int(n) //nolint:gosec // bounded above
}
