package parquetio

import (
	"bytes"
	"encoding/json"

	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/jobs"
)

// shredder takes the values of one column of a schema apart into the values of its leaf columns, each with the
// repetition and definition levels that say where it belongs (the format's README, "Nested Encoding").
type shredder struct {
	typ  *jobs.Type
	kind jobs.Kind
	// def is the definition level of a value that is there; one less means null.
	def int
	// rep is the repetition level of a list's or map's second element.
	rep int
	// first and last bound the leaf columns below, last excluded.
	first, last int
	// children are a struct's members, a list's element, or a map's value.
	children []shredder
	index    map[string]int
	// size is the width of a decimal that is stored as bytes.
	size int
}

// batch collects the values of some rows, one slice a leaf column.
type batch struct {
	columns [][]parquet.Value
	// bytes backs the values that have bytes.
	bytes []byte
}

// newShredder builds the shredder of a type whose optional value has the definition level def, in a place that
// repeats at level rep.
func newShredder(t *jobs.Type, def, rep, leaf int) shredder {
	s := shredder{typ: t, kind: storedKind(t), def: def, first: leaf}
	switch s.kind {
	case jobs.KindStruct:
		s.index = make(map[string]int, len(t.Fields))
		for i := range t.Fields {
			s.index[t.Fields[i].Name] = i
			s.children = append(s.children, newShredder(&t.Fields[i].Type, def+1, rep, leaf))
			leaf = s.children[i].last
		}
	case jobs.KindList:
		s.rep = rep + 1
		s.children = []shredder{newShredder(t.Element, def+2, rep+1, leaf)}
		leaf = s.children[0].last
	case jobs.KindMap:
		// The key is the leaf before the value's.
		s.rep = rep + 1
		s.children = []shredder{newShredder(t.Element, def+2, rep+1, leaf+1)}
		leaf = s.children[0].last
	case jobs.KindDecimal:
		if t.Precision > maxDigitsInt64 {
			s.size = decimalBytes(t.Precision)
		}
		leaf++
	default:
		leaf++
	}
	s.last = leaf
	return s
}

// nulls writes to each leaf that nothing is there below definition level def.
func (s *shredder) nulls(b *batch, rep, def int) {
	for leaf := s.first; leaf < s.last; leaf++ {
		b.columns[leaf] = append(b.columns[leaf], parquet.NullValue().Level(rep, def, leaf))
	}
}

// write shreds one value; nil is null. It reports whether the value fits the type.
func (s *shredder) write(b *batch, value json.RawMessage, rep int) bool {
	value = trimSpace(value)
	if len(value) == 0 || string(value) == "null" {
		s.nulls(b, rep, s.def-1)
		return true
	}
	switch s.kind {
	case jobs.KindStruct:
		return value[0] == '{' && s.writeStruct(b, value, rep)
	case jobs.KindList:
		return value[0] == '[' && s.writeList(b, value, rep)
	case jobs.KindMap:
		return value[0] == '{' && s.writeMap(b, value, rep)
	default:
		leaf, ok := s.leaf(b, value)
		if ok {
			b.columns[s.first] = append(b.columns[s.first], leaf.Level(rep, s.def, s.first))
		}
		return ok
	}
}

func (s *shredder) writeStruct(b *batch, value json.RawMessage, rep int) bool {
	var few [16]json.RawMessage
	members := few[:0]
	if len(s.children) > len(few) {
		members = make([]json.RawMessage, 0, len(s.children))
	}
	members = members[:len(s.children)]
	for name, member := range jobs.ObjectMembers(value) {
		i, ok := s.index[name]
		if !ok {
			return false
		}
		members[i] = member
	}
	for i := range s.children {
		if !s.children[i].write(b, members[i], rep) {
			return false
		}
	}
	return true
}

func (s *shredder) writeList(b *batch, value json.RawMessage, rep int) bool {
	empty := true
	for element := range jobs.ArrayElements(value) {
		if !s.children[0].write(b, element, rep) {
			return false
		}
		rep, empty = s.rep, false
	}
	if empty {
		s.nulls(b, rep, s.def)
	}
	return true
}

func (s *shredder) writeMap(b *batch, value json.RawMessage, rep int) bool {
	empty := true
	for key, element := range jobs.ObjectMembers(value) {
		start := len(b.bytes)
		b.bytes = append(b.bytes, key...)
		b.columns[s.first] = append(b.columns[s.first],
			parquet.ByteArrayValue(b.bytes[start:]).Level(rep, s.def+1, s.first))
		if !s.children[0].write(b, element, rep) {
			return false
		}
		rep, empty = s.rep, false
	}
	if empty {
		s.nulls(b, rep, s.def)
	}
	return true
}

// leaf turns the text of a value that is there into the value of its leaf column.
func (s *shredder) leaf(b *batch, text []byte) (v parquet.Value, ok bool) {
	start := len(b.bytes)
	switch s.kind {
	case jobs.KindString:
		b.bytes, ok = appendString(b.bytes, text)
		return parquet.ByteArrayValue(b.bytes[start:]), ok
	case jobs.KindBoolean:
		truth := string(text) == "true"
		return parquet.BooleanValue(truth), truth || string(text) == "false"
	case jobs.KindInteger:
		n, ok := parseInteger(text, s.typ)
		return intValue(n, width(s.typ) <= 32), ok
	case jobs.KindNumber:
		f, ok := parseFloat(text, width(s.typ))
		if width(s.typ) == 32 {
			return parquet.FloatValue(float32(f)), ok
		}
		return parquet.DoubleValue(f), ok
	case jobs.KindDecimal:
		if s.size > 0 {
			b.bytes, ok = appendDecimal(b.bytes, text, s.typ, s.size)
			return parquet.FixedLenByteArrayValue(b.bytes[start:]), ok
		}
		n, ok := parseUnscaled(text, s.typ.Precision, s.typ.Scale)
		return intValue(n, s.typ.Precision <= maxDigitsInt32), ok
	case jobs.KindBinary:
		b.bytes, ok = appendBinary(b.bytes, text)
		return parquet.ByteArrayValue(b.bytes[start:]), ok
	case jobs.KindDate, jobs.KindTime, jobs.KindTimestamp:
		return s.moment(b, text)
	default: // KindJSON
		b.bytes = append(b.bytes, text...)
		return parquet.ByteArrayValue(b.bytes[start:]), json.Valid(text)
	}
}

func (s *shredder) moment(b *batch, text []byte) (parquet.Value, bool) {
	start := len(b.bytes)
	unquoted, ok := appendString(b.bytes, text)
	if !ok {
		return parquet.Value{}, false
	}
	said := unquoted[start:]
	switch s.kind {
	case jobs.KindDate:
		days, ok := parseDate(said)
		return parquet.Int32Value(days), ok
	case jobs.KindTime:
		n, ok := parseClock(said, unitDigits(s.typ.Unit))
		return intValue(n, s.typ.Unit == "millis"), ok
	default:
		n, ok := parseTimestamp(said, unitDigits(s.typ.Unit), s.typ.UTC)
		return parquet.Int64Value(n), ok
	}
}

func intValue(n int64, narrow bool) parquet.Value {
	if narrow {
		return parquet.Int32Value(int32(n)) //nolint:gosec // callers checked the range; unsigned values keep their bits
	}
	return parquet.Int64Value(n)
}

func trimSpace(text []byte) []byte {
	if len(text) == 0 || text[0] > ' ' && text[len(text)-1] > ' ' {
		return text
	}
	return bytes.TrimSpace(text)
}
