package parquetio

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/batchwright/batchwright/jobs"
)

// maxSchemaDepth bounds nesting, which reading follows by recursion and levels by a byte.
const maxSchemaDepth = 64

// node is a place in a file's schema that values are assembled for. Lists and maps are one node each: the
// wrapping groups of the format are folded away.
type node struct {
	// name is the member's name as it stands before a value: `"name":`.
	name []byte
	typ  jobs.Type
	// def is the definition level of a value that is there; optional says that it may be null.
	def      int
	optional bool
	// rep is the repetition level of a list's or map's elements, and full the definition level of their being.
	rep, full int
	// children are a struct's members, a list's element, or a map's key and value.
	children []node
	// leaf is the place of a leaf column in row groups; first and last bound the leaves below, last excluded.
	leaf, first, last int
}

// leafColumn says how a leaf column is stored.
type leafColumn struct {
	path     string
	physical format.Type
	length   int
	maxDef   int
	maxRep   int
	typ      jobs.Type
	text     textForm
}

// schemaTree builds nodes from a footer's schema.
type schemaTree struct {
	elements []element
	next     int
	leaves   []leafColumn
}

// newSchemaTree returns the columns of a file, and its leaf columns in the order of row groups.
func newSchemaTree(elements []element) (columns []node, leaves []leafColumn, err error) {
	if len(elements) == 0 || elements[0].leaf {
		return nil, nil, errors.New("its schema is malformed: there is no root")
	}
	t := &schemaTree{elements: elements, next: 1}
	seen := make(map[string]bool)
	for range elements[0].children {
		column, err := t.column("", 0, 0, 1)
		if err != nil {
			return nil, nil, err
		}
		name := string(column.name)
		if seen[name] {
			return nil, nil, fmt.Errorf("two of its columns are called %s: rename one", name[:len(name)-1])
		}
		seen[name] = true
		columns = append(columns, column)
	}
	if t.next != len(elements) {
		return nil, nil, errors.New("its schema is malformed: not every node has a place")
	}
	return columns, t.leaves, nil
}

// column reads the next schema node and what is below it. def and rep are the levels around it.
func (t *schemaTree) column(path string, def, rep, depth int) (node, error) {
	if t.next >= len(t.elements) || depth > maxSchemaDepth {
		return node{}, errors.New("its schema is malformed: a node has more children than there are")
	}
	e := &t.elements[t.next]
	if e.repeat != format.Repeated {
		return t.single(path, def, rep, depth)
	}
	// A repeated node outside of a LIST or MAP is a list of required elements, and never null itself.
	n := node{name: memberName(e.name), def: def, full: def + 1, rep: rep + 1, first: len(t.leaves)}
	element, err := t.single(path, def, rep, depth)
	if err != nil {
		return node{}, err
	}
	n.setList(element, len(t.leaves))
	return n, nil
}

// single is column for a node whose repetition, if it has one, is taken care of.
func (t *schemaTree) single(path string, def, rep, depth int) (node, error) {
	e := &t.elements[t.next]
	t.next++
	path = joinPath(path, e.name)
	n := node{name: memberName(e.name), def: def, first: len(t.leaves)}
	switch e.repeat {
	case format.Optional:
		n.optional = true
		n.def++
	case format.Repeated:
		n.def++
		rep++
	default: // required: no level of its own
	}
	if e.leaf {
		err := t.addLeaf(&n, e, path, rep)
		return n, err
	}
	if e.children < 0 || e.children > len(t.elements)-t.next {
		return node{}, errors.New("its schema is malformed: a node has more children than there are")
	}
	switch {
	case e.isList() && e.children == 1 && t.follows(format.Repeated):
		err := t.list(&n, path, rep, depth)
		return n, err
	case e.isMap() && e.children == 1 && t.follows(format.Repeated) && t.elements[t.next].children == 2:
		err := t.pairs(&n, path, rep, depth)
		return n, err
	}
	n.typ = jobs.Type{Kind: jobs.KindStruct}
	for range e.children {
		child, err := t.column(path, n.def, rep, depth+1)
		if err != nil {
			return node{}, err
		}
		if slices.ContainsFunc(n.children, func(c node) bool { return string(c.name) == string(child.name) }) {
			return node{}, fmt.Errorf("two members of its column %s are called %s: rename one", path, child.name[:len(child.name)-1])
		}
		n.children = append(n.children, child)
		n.typ.Fields = append(n.typ.Fields, jobs.Column{Name: child.memberName(), Type: child.typ})
	}
	n.last = len(t.leaves)
	return n, nil
}

func (t *schemaTree) follows(repeat format.FieldRepetitionType) bool {
	return t.next < len(t.elements) && t.elements[t.next].repeat == repeat
}

// list reads the repeated node below a LIST. Which of the two levels is the element follows the rules for old
// files on the format's LogicalTypes page ("Backward-compatibility rules").
func (t *schemaTree) list(n *node, path string, rep, depth int) error {
	n.rep, n.full = rep+1, n.def+1
	repeated := &t.elements[t.next]
	twoLevels := repeated.leaf || repeated.children != 1 || repeated.isList() || repeated.isMap() ||
		repeated.name == "array" || repeated.name == t.elements[t.next-1].name+"_tuple"
	// A lone member that itself repeats makes the repeated node a struct around a list.
	if !twoLevels && t.next+1 < len(t.elements) && t.elements[t.next+1].repeat == format.Repeated {
		twoLevels = true
	}
	var element node
	var err error
	if twoLevels {
		element, err = t.single(path, n.def, rep, depth+1)
	} else {
		path = joinPath(path, repeated.name)
		t.next++
		element, err = t.column(path, n.full, n.rep, depth+2)
	}
	if err != nil {
		return err
	}
	n.setList(element, len(t.leaves))
	return nil
}

// pairs reads the repeated pair of key and value below a MAP.
func (t *schemaTree) pairs(n *node, path string, rep, depth int) error {
	n.rep, n.full = rep+1, n.def+1
	path = joinPath(path, t.elements[t.next].name)
	t.next++
	key, err := t.column(path, n.full, n.rep, depth+2)
	if err != nil {
		return err
	}
	if len(key.children) > 0 {
		return fmt.Errorf("column %s: keys that are lists or structs are not supported", path)
	}
	value, err := t.column(path, n.full, n.rep, depth+2)
	if err != nil {
		return err
	}
	n.children = []node{key, value}
	n.typ = jobs.Type{Kind: jobs.KindMap, Element: &value.typ}
	n.last = len(t.leaves)
	return nil
}

func (n *node) setList(element node, last int) {
	n.children = []node{element}
	n.typ = jobs.Type{Kind: jobs.KindList, Element: &element.typ}
	n.last = last
}

func (t *schemaTree) addLeaf(n *node, e *element, path string, rep int) error {
	typ, text, err := leafType(e)
	if err != nil {
		return fmt.Errorf("column %s: %w", path, err)
	}
	n.typ, n.leaf, n.last = typ, len(t.leaves), len(t.leaves)+1
	t.leaves = append(t.leaves, leafColumn{
		path: path, physical: e.physical, length: e.length, maxDef: n.def, maxRep: rep, typ: typ, text: text,
	})
	return nil
}

// schemaOf is the schema of a file's columns.
func schemaOf(columns []node) jobs.Schema {
	schema := make(jobs.Schema, len(columns))
	for i := range columns {
		schema[i] = jobs.Column{Name: columns[i].memberName(), Type: columns[i].typ}
	}
	return schema
}

func memberName(name string) []byte { return append(jobs.AppendString(nil, []byte(name)), ':') }

func (n *node) memberName() string {
	name, _ := appendString(nil, n.name[:len(n.name)-1])
	return string(name)
}

func joinPath(path, name string) string {
	if path == "" {
		return strconv.Quote(name)
	}
	return path + "." + strconv.Quote(name)
}

func (e *element) isList() bool { return e.logical.id == logicalList || e.converted == deprecated.List }

func (e *element) isMap() bool {
	return e.logical.id == logicalMap || e.converted == deprecated.Map || e.converted == deprecated.MapKeyValue
}

// leafType is the type of a leaf column and the form of its values' texts.
func leafType(e *element) (jobs.Type, textForm, error) {
	switch e.physical {
	case format.Boolean:
		return jobs.Type{Kind: jobs.KindBoolean}, textBoolean, nil
	case format.Float:
		return jobs.Type{Kind: jobs.KindNumber, Bits: 32}, textFloat32, nil
	case format.Double:
		return jobs.Type{Kind: jobs.KindNumber}, textFloat64, nil
	case format.Int96:
		// Only ever used for timestamps: nanoseconds of the day and the Julian day.
		return jobs.Type{Kind: jobs.KindTimestamp, Unit: "nanos"}, textInt96, nil
	case format.Int32, format.Int64:
		return integerType(e)
	case format.ByteArray, format.FixedLenByteArray:
		if e.physical == format.FixedLenByteArray && (e.length <= 0 || e.length > maxPageBytes) {
			return jobs.Type{}, 0, fmt.Errorf("values of %d bytes are impossible", e.length)
		}
		return bytesType(e)
	default:
		return jobs.Type{}, 0, fmt.Errorf("physical type %d is unknown", e.physical)
	}
}

func integerType(e *element) (jobs.Type, textForm, error) {
	long := e.physical == format.Int64
	bits := 32
	if long {
		bits = 0
	}
	if typ, text, ok, err := decimalType(e); ok {
		return typ, text, err
	}
	unit, utc := e.logical.unit, e.logical.utc
	switch {
	case e.logical.id == logicalDate || e.logical.id == 0 && e.converted == deprecated.Date:
		return jobs.Type{Kind: jobs.KindDate}, textDate, nil
	case e.logical.id == logicalTime && unit != "":
		return jobs.Type{Kind: jobs.KindTime, Unit: unit, UTC: utc}, textTime, nil
	case e.logical.id == logicalTimestamp && unit != "" && long:
		return jobs.Type{Kind: jobs.KindTimestamp, Unit: unit, UTC: utc}, textTimestamp, nil
	case e.logical.id == logicalNull:
		return jobs.Type{Kind: jobs.KindString}, textSigned, nil
	case e.logical.id == logicalInteger && slices.Contains([]int{8, 16, 32, 64}, e.logical.bits):
		typ := jobs.Type{Kind: jobs.KindInteger, Bits: e.logical.bits, Unsigned: !e.logical.signed}
		if typ.Bits == 64 {
			typ.Bits = 0
		}
		return typ, integerText(typ.Unsigned, long), nil
	}
	if e.logical.id == 0 {
		switch e.converted {
		case deprecated.TimeMillis:
			return jobs.Type{Kind: jobs.KindTime, Unit: "millis", UTC: true}, textTime, nil
		case deprecated.TimeMicros:
			return jobs.Type{Kind: jobs.KindTime, Unit: "micros", UTC: true}, textTime, nil
		case deprecated.TimestampMillis:
			return jobs.Type{Kind: jobs.KindTimestamp, Unit: "millis", UTC: true}, textTimestamp, nil
		case deprecated.TimestampMicros:
			return jobs.Type{Kind: jobs.KindTimestamp, Unit: "micros", UTC: true}, textTimestamp, nil
		case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
			bits = [...]int{8, 16, 32, 0}[e.converted-deprecated.Uint8]
			return jobs.Type{Kind: jobs.KindInteger, Bits: bits, Unsigned: true}, integerText(true, long), nil
		case deprecated.Int8, deprecated.Int16, deprecated.Int32, deprecated.Int64:
			bits = [...]int{8, 16, 32, 0}[e.converted-deprecated.Int8]
			return jobs.Type{Kind: jobs.KindInteger, Bits: bits}, textSigned, nil
		default: // none that says more than the physical type
		}
	}
	return jobs.Type{Kind: jobs.KindInteger, Bits: bits}, textSigned, nil
}

func integerText(unsigned, long bool) textForm {
	switch {
	case !unsigned:
		return textSigned
	case long:
		return textUnsigned64
	default:
		return textUnsigned32
	}
}

// decimalType reads the annotation of a decimal; ok is false when there is none.
func decimalType(e *element) (typ jobs.Type, text textForm, ok bool, err error) {
	precision, scale := e.logical.precision, e.logical.scale
	if e.logical.id != logicalDecimal {
		if e.logical.id != 0 || e.converted != deprecated.Decimal {
			return jobs.Type{}, 0, false, nil
		}
		precision, scale = e.precision, e.scale
	}
	if precision < 1 || precision > maxPrecision || scale < 0 || scale > precision {
		return jobs.Type{}, 0, true, fmt.Errorf("decimal(%d,%d) is not supported", precision, scale)
	}
	text = textDecimal
	if e.physical == format.ByteArray || e.physical == format.FixedLenByteArray {
		text = textDecimalBytes
	}
	return jobs.Type{Kind: jobs.KindDecimal, Precision: precision, Scale: scale}, text, true, nil
}

func bytesType(e *element) (jobs.Type, textForm, error) {
	if typ, text, ok, err := decimalType(e); ok {
		return typ, text, err
	}
	switch e.logical.id {
	case logicalString, logicalEnum:
		return jobs.Type{Kind: jobs.KindString}, textString, nil
	case logicalJSON:
		return jobs.Type{Kind: jobs.KindJSON}, textJSON, nil
	case logicalUUID:
		if e.physical == format.FixedLenByteArray && e.length == 16 {
			return jobs.Type{Kind: jobs.KindString}, textUUID, nil
		}
	case logicalFloat16:
		if e.physical == format.FixedLenByteArray && e.length == 2 {
			return jobs.Type{Kind: jobs.KindNumber, Bits: 32}, textFloat16, nil
		}
	case 0:
		switch e.converted {
		case deprecated.UTF8, deprecated.Enum:
			return jobs.Type{Kind: jobs.KindString}, textString, nil
		case deprecated.Json:
			return jobs.Type{Kind: jobs.KindJSON}, textJSON, nil
		default: // none that says what the bytes are
		}
	}
	return jobs.Type{Kind: jobs.KindBinary}, textBinary, nil
}
