package coordinator

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// sameValue reports whether a JSON text of the output says what one of the input says: text by its characters, numbers
// by their exact value, objects whatever the order of their members. In typed output t is the column's type: a column
// of floats holds the float nearest to a number, and a struct holds null for a member that a value does not have.
// Both must be valid.
func sameValue(input, output json.RawMessage, t *jobs.Type) bool {
	if bytes.Equal(input, output) {
		return true
	}
	return sameParsed(gjson.ParseBytes(input), gjson.ParseBytes(output), t)
}

func sameParsed(a, b gjson.Result, t *jobs.Type) bool {
	switch {
	case a.IsArray() && b.IsArray():
		return sameElements(a, b, t)
	case a.IsObject() && b.IsObject():
		return sameMembers(a, b, t)
	case a.Type != b.Type || a.Type == gjson.JSON:
		return false
	case a.Type == gjson.String:
		return a.Str == b.Str
	case a.Type == gjson.Number && t != nil && t.Kind == jobs.KindNumber:
		return nearest(a.Raw, t) == nearest(b.Raw, t)
	case a.Type == gjson.Number:
		return sameNumber(a.Raw, b.Raw)
	default:
		return true // null, true and false are all of their type
	}
}

func nearest(number string, t *jobs.Type) float64 {
	bits := 64
	if t.Bits == 32 {
		bits = 32
	}
	f, _ := strconv.ParseFloat(number, bits) // beyond the largest float is infinite, which equals nothing that is stored
	return f
}

// sameNumber compares two JSON numbers exactly and without ever expanding an exponent.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	digitsA, exponentA := canonical(a)
	digitsB, exponentB := canonical(b)
	return digitsA == digitsB && exponentA.Cmp(exponentB) == 0
}

// canonical is a JSON number as digits × 10^exponent: a sign and digits without zeros at their ends.
func canonical(number string) (digits string, exponent *big.Int) {
	mantissa, power, _ := strings.Cut(strings.ToLower(strings.TrimSpace(number)), "e")
	exponent = new(big.Int)
	if power != "" {
		exponent.SetString(power, 10)
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(digits, "0")
	exponent.Add(exponent, big.NewInt(int64(len(digits)-len(trimmed)-len(fraction))))
	if trimmed == "" {
		return "", new(big.Int) // zero, of either sign
	}
	if negative {
		trimmed = "-" + trimmed
	}
	return trimmed, exponent
}

func sameElements(a, b gjson.Result, t *jobs.Type) bool {
	var element *jobs.Type
	if t != nil {
		element = t.Element
	}
	x, y := a.Array(), b.Array()
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if !sameParsed(x[i], y[i], element) {
			return false
		}
	}
	return true
}

// sameMembers compares two objects, in neither of which a name stands twice: the readers see to that.
func sameMembers(a, b gjson.Result, t *jobs.Type) bool {
	others := make(map[string]gjson.Result)
	b.ForEach(func(name, value gjson.Result) bool {
		others[name.Str] = value
		return true
	})
	same := true
	a.ForEach(func(name, value gjson.Result) bool {
		other, ok := others[name.Str]
		same = ok && sameParsed(value, other, memberType(t, name.Str))
		delete(others, name.Str)
		return same
	})
	for _, other := range others {
		same = same && t != nil && t.Kind == jobs.KindStruct && other.Type == gjson.Null
	}
	return same
}

// memberType is the type of an object's member; nil where it has none of its own.
func memberType(t *jobs.Type, name string) *jobs.Type {
	if t == nil {
		return nil
	}
	if t.Kind == jobs.KindMap {
		return t.Element
	}
	for i := range t.Fields {
		if t.Fields[i].Name == name {
			return &t.Fields[i].Type
		}
	}
	return nil
}
