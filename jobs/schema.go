package jobs

// Kind is the type of a column's values. Within batchwright a value always travels as a JSON text; the kind says
// which, so that a typed format gets back what a typed format gave.
type Kind string

// The kinds, with the JSON encoding of a value of each. Any value may also be null.
const (
	KindString    Kind = "string"    // "text"
	KindBoolean   Kind = "boolean"   // true, false
	KindInteger   Kind = "integer"   // -12; 64 bits, signed unless Type.Unsigned
	KindNumber    Kind = "number"    // 1.5; 64-bit float ("NaN", "Infinity", "-Infinity" as strings)
	KindDecimal   Kind = "decimal"   // 12.340 with exactly Type.Scale digits, as a JSON number
	KindDate      Kind = "date"      // "2026-11-22"
	KindTime      Kind = "time"      // "13:45:07.123"
	KindTimestamp Kind = "timestamp" // "2026-11-22T13:45:07.123Z"; without Z when not Type.UTC
	KindBinary    Kind = "binary"    // "base64, standard alphabet, padded"
	KindList      Kind = "list"      // [element, ...] of Type.Element
	KindStruct    Kind = "struct"    // {"field": value, ...} of Type.Fields
	KindMap       Kind = "map"       // {"key": value, ...} with values of Type.Element
	KindJSON      Kind = "json"      // any JSON value; a typed format stores its text
)

// Type is a column's type: a kind and what that kind needs.
type Type struct {
	Kind Kind `json:"kind"`
	// Bits is the physical width of integers and floats as read (8, 16, 32, 64); 0 means 64.
	Bits int `json:"bits,omitempty"`
	// Unsigned marks an integer without sign.
	Unsigned bool `json:"unsigned,omitempty"`
	// Precision and Scale belong to decimals.
	Precision int `json:"precision,omitempty"`
	Scale     int `json:"scale,omitempty"`
	// Unit is "millis", "micros" or "nanos" for times and timestamps.
	Unit string `json:"unit,omitempty"`
	// UTC marks a time or timestamp that names an instant.
	UTC bool `json:"utc,omitempty"`
	// Element is the type of a list's elements or a map's values.
	Element *Type `json:"element,omitempty"`
	// Fields are a struct's members in order.
	Fields []Column `json:"fields,omitempty"`
}

// Column is a named type. All columns can be null.
type Column struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
}

// Schema lists columns in order.
type Schema []Column

// Names returns the columns' names in order.
func (s Schema) Names() []string {
	names := make([]string, len(s))
	for i := range s {
		names[i] = s[i].Name
	}
	return names
}
