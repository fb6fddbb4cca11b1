package parquetio

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/jobs"
)

// Digits of a decimal that fit its physical types, by the format's LogicalTypes page.
const (
	maxDigitsInt32 = 9
	maxDigitsInt64 = 18
	// maxPrecision is what fits 32 bytes, the widest decimal that Arrow knows.
	maxPrecision = 76
)

// orderedGroup is a parquet-go group whose fields keep their order; parquet.Group sorts them by name.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func (g *orderedGroup) Fields() []parquet.Field { return g.fields }

// GoType is not used when values are written level by level; the inherited one panics on names that are no Go
// identifiers.
func (g *orderedGroup) GoType() reflect.Type { return reflect.TypeFor[any]() }

type orderedField struct {
	parquet.Node
	name string
}

func (f *orderedField) Name() string { return f.name }

func (f *orderedField) Value(base reflect.Value) reflect.Value { return base }

// schemaNode turns a schema into parquet-go's form of it.
func schemaNode(schema jobs.Schema) (*parquet.Schema, error) {
	if len(schema) == 0 {
		return nil, errors.New("a Parquet file needs at least one column")
	}
	root, err := groupNode(schema)
	if err != nil {
		return nil, err
	}
	return parquet.NewSchema("schema", root), nil
}

func groupNode(columns []jobs.Column) (parquet.Node, error) {
	group := &orderedGroup{fields: make([]parquet.Field, len(columns))}
	seen := make(map[string]bool, len(columns))
	for i := range columns {
		name := columns[i].Name
		if seen[name] {
			return nil, fmt.Errorf("two columns are called %q: rename one", name)
		}
		seen[name] = true
		node, err := typeNode(&columns[i].Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", name, err)
		}
		group.fields[i] = &orderedField{Node: parquet.Optional(node), name: name}
	}
	return group, nil
}

func typeNode(t *jobs.Type) (parquet.Node, error) {
	switch storedKind(t) {
	case jobs.KindString:
		return parquet.String(), nil
	case jobs.KindBoolean:
		return parquet.Leaf(parquet.BooleanType), nil
	case jobs.KindInteger:
		switch bits := width(t); {
		case bits != 8 && bits != 16 && bits != 32 && bits != 64:
			return nil, fmt.Errorf("an integer of %d bits has no Parquet type", bits)
		case t.Unsigned:
			return parquet.Uint(bits), nil
		default:
			return parquet.Int(bits), nil
		}
	case jobs.KindNumber:
		if width(t) == 32 {
			return parquet.Leaf(parquet.FloatType), nil
		}
		return parquet.Leaf(parquet.DoubleType), nil
	case jobs.KindDecimal:
		return decimalNode(t)
	case jobs.KindDate:
		return parquet.Date(), nil
	case jobs.KindTime, jobs.KindTimestamp:
		unit, ok := map[string]parquet.TimeUnit{"millis": parquet.Millisecond, "micros": parquet.Microsecond, "nanos": parquet.Nanosecond}[t.Unit]
		switch {
		case !ok:
			return nil, fmt.Errorf("a %s has no unit %q", t.Kind, t.Unit)
		case t.Kind == jobs.KindTime:
			return parquet.TimeAdjusted(unit, t.UTC), nil
		default:
			return parquet.TimestampAdjusted(unit, t.UTC), nil
		}
	case jobs.KindBinary:
		return parquet.Leaf(parquet.ByteArrayType), nil
	case jobs.KindJSON:
		return parquet.JSON(), nil
	case jobs.KindStruct:
		return groupNode(t.Fields)
	case jobs.KindList, jobs.KindMap:
		if t.Element == nil {
			return nil, fmt.Errorf("a %s without a type for its elements has no Parquet type", t.Kind)
		}
		element, err := typeNode(t.Element)
		if err != nil {
			return nil, err
		}
		if t.Kind == jobs.KindMap {
			return parquet.Map(parquet.String(), parquet.Optional(element)), nil
		}
		return parquet.List(parquet.Optional(element)), nil
	default:
		return nil, fmt.Errorf("kind %q has no Parquet type", t.Kind)
	}
}

func decimalNode(t *jobs.Type) (parquet.Node, error) {
	switch {
	case t.Precision < 1 || t.Precision > maxPrecision || t.Scale < 0 || t.Scale > t.Precision:
		return nil, fmt.Errorf("decimal(%d,%d) has no Parquet type", t.Precision, t.Scale)
	case t.Precision <= maxDigitsInt32:
		return parquet.Decimal(t.Scale, t.Precision, parquet.Int32Type), nil
	case t.Precision <= maxDigitsInt64:
		return parquet.Decimal(t.Scale, t.Precision, parquet.Int64Type), nil
	default:
		return parquet.Decimal(t.Scale, t.Precision, parquet.FixedLenByteArrayType(decimalBytes(t.Precision))), nil
	}
}

// decimalBytes is the smallest number of bytes whose two's complement holds precision digits.
func decimalBytes(precision int) int {
	return powersOfTen[precision].BitLen()/8 + 1
}

// storedKind is the kind as which values of a type are stored: a struct without members has no Parquet form, so
// its text is.
func storedKind(t *jobs.Type) jobs.Kind {
	if t.Kind == jobs.KindStruct && len(t.Fields) == 0 {
		return jobs.KindJSON
	}
	return t.Kind
}

func width(t *jobs.Type) int {
	if t.Bits == 0 {
		return 64
	}
	return t.Bits
}
