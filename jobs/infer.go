package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of an inference: what is beyond them is kept as JSON, or refused.
const (
	maxInferredColumns = 10_000
	// maxInferredKeys bounds the distinct keys of one column's objects, nested ones included: objects used as
	// dictionaries must not become structs with a member for every word ever seen.
	maxInferredKeys  = 200
	maxInferredDepth = 32
	// maxDecimalDigits is the precision that every Parquet reader supports.
	maxDecimalDigits = 38
)

// Inference settles the schema of untyped input (JSONL, CSV) from its records. The zero value is ready to use.
// Its memory grows with the number of columns and of keys, never with that of records. It is not safe for
// concurrent use.
type Inference struct {
	columns []inferredColumn
	index   map[string]int
	err     error
}

type inferredColumn struct {
	name string
	seen evidence
	// keys counts the distinct keys of the column's objects.
	keys int
}

// sighting is a set of the sorts of JSON values that a column was seen to hold.
type sighting uint8

const (
	sawBoolean sighting = 1 << iota
	sawInteger
	sawBigInteger  // an integer beyond 64 bits
	sawHugeInteger // an integer beyond 38 digits
	sawFloat
	sawString
	sawList
	sawObject
)

const sawNumber = sawInteger | sawBigInteger | sawHugeInteger | sawFloat

// evidence is what was seen in one place: a column, a list's elements, an object's member.
type evidence struct {
	saw sighting
	// any marks a place that holds too much for a type: it is JSON, and nothing below it is looked at.
	any      bool
	elements *evidence
	members  []*inferredMember
}

type inferredMember struct {
	name string
	seen evidence
}

// Add takes one record's fields into account. Values must be valid JSON texts.
func (inf *Inference) Add(fields []Member) {
	if inf.err != nil {
		return
	}
	for i := range fields {
		// Records mostly have the same columns in the same order, which saves the look-up.
		at := i
		if at >= len(inf.columns) || inf.columns[at].name != fields[i].Name {
			var ok bool
			if at, ok = inf.index[fields[i].Name]; !ok {
				if at, ok = inf.addColumn(fields[i].Name); !ok {
					return
				}
			}
		}
		column := &inf.columns[at]
		column.seen.add(fields[i].Value, column, 0)
	}
}

// Err says why the input cannot be given a schema; nil when it can.
func (inf *Inference) Err() error { return inf.err }

// Schema returns the columns in the order in which they first appeared. A column that was only ever null is a
// string; one that mixes sorts of values is JSON.
func (inf *Inference) Schema() Schema {
	schema := make(Schema, len(inf.columns))
	for i := range inf.columns {
		schema[i] = Column{Name: inf.columns[i].name, Type: inf.columns[i].seen.settle()}
	}
	return schema
}

func (inf *Inference) addColumn(name string) (int, bool) {
	if len(inf.columns) >= maxInferredColumns {
		inf.err = fmt.Errorf("input has more than %d columns: put changing names into one column that holds an object", maxInferredColumns)
		return 0, false
	}
	if inf.index == nil {
		inf.index = make(map[string]int)
	}
	inf.index[name] = len(inf.columns)
	inf.columns = append(inf.columns, inferredColumn{name: name})
	return len(inf.columns) - 1, true
}

func (e *evidence) add(text json.RawMessage, column *inferredColumn, depth int) {
	if e.any {
		return
	}
	at := skipSpace(text, 0)
	if at >= len(text) {
		return
	}
	switch text[at] {
	case 'n':
		return
	case 't', 'f':
		e.saw |= sawBoolean
	case '"':
		e.saw |= sawString
	case '[':
		e.saw |= sawList
	case '{':
		e.saw |= sawObject
	default:
		if beyondFloat(text[at:]) {
			e.giveUp() // no number type of any format holds it
			return
		}
		e.saw |= numberSighting(text[at:])
	}
	if e.mixed() || depth >= maxInferredDepth {
		e.giveUp()
		return
	}
	switch text[at] {
	case '[':
		if e.elements == nil {
			e.elements = &evidence{}
		}
		for element := range ArrayElements(text) {
			e.elements.add(element, column, depth+1)
		}
	case '{':
		next := 0
		for name, value := range ObjectMembers(text) {
			m := e.member(name, next)
			next++
			if m == nil {
				if column.keys >= maxInferredKeys {
					// The whole column, so that where it is cut does not depend on which key came last.
					column.seen.giveUp()
					return
				}
				column.keys++
				m = &inferredMember{name: name}
				e.members = append(e.members, m)
			}
			m.seen.add(value, column, depth+1)
			if e.any {
				return
			}
		}
	}
}

// member finds the member called name, which is usually at the given place; nil when it is new.
func (e *evidence) member(name string, place int) *inferredMember {
	if place < len(e.members) && e.members[place].name == name {
		return e.members[place]
	}
	for _, m := range e.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (e *evidence) giveUp() { *e = evidence{any: true} }

// mixed reports whether values of different sorts were seen.
func (e *evidence) mixed() bool {
	sorts := 0
	for _, sort := range [...]sighting{sawBoolean, sawNumber, sawString, sawList, sawObject} {
		if e.saw&sort != 0 {
			sorts++
		}
	}
	return sorts > 1
}

func (e *evidence) settle() Type {
	switch {
	case e.any:
		return Type{Kind: KindJSON}
	case e.saw&sawBoolean != 0:
		return Type{Kind: KindBoolean}
	case e.saw&(sawFloat|sawHugeInteger) != 0:
		return Type{Kind: KindNumber}
	case e.saw&sawBigInteger != 0:
		return Type{Kind: KindDecimal, Precision: maxDecimalDigits}
	case e.saw&sawInteger != 0:
		return Type{Kind: KindInteger}
	case e.saw&sawList != 0:
		element := e.elements.settle()
		return Type{Kind: KindList, Element: &element}
	case e.saw&sawObject != 0:
		if len(e.members) == 0 {
			// Nothing but {} was seen, and no typed format has a struct without members.
			return Type{Kind: KindJSON}
		}
		fields := make([]Column, len(e.members))
		for i, m := range e.members {
			fields[i] = Column{Name: m.name, Type: m.seen.settle()}
		}
		return Type{Kind: KindStruct, Fields: fields}
	default:
		return Type{Kind: KindString}
	}
}

// beyondFloat reports whether a JSON number is larger than a 64-bit float can be, about 1.8e308. Underflow is none: it
// reads as zero.
func beyondFloat(text []byte) bool {
	const safeDigits = 308
	if len(text) <= safeDigits && !bytes.ContainsAny(text, "eE") {
		return false
	}
	_, err := strconv.ParseFloat(string(bytes.TrimSpace(text)), 64)
	return err != nil
}

// numberSighting says which sort of number a JSON number is, from its digits alone.
func numberSighting(text []byte) sighting {
	digits, limit := text, "9223372036854775807"
	if digits[0] == '-' {
		digits, limit = digits[1:], "9223372036854775808"
	}
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	if n < len(digits) && strings.IndexByte(".eE", digits[n]) >= 0 {
		return sawFloat
	}
	switch {
	case n < len(limit), n == len(limit) && string(digits[:n]) <= limit:
		return sawInteger
	case n <= maxDecimalDigits:
		return sawBigInteger
	default:
		return sawHugeInteger
	}
}
