package messages

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
)

// object is a JSON object in pieces: its members in order, each value the JSON text that the server sent.
type object struct{ members []member }

// member is one name, unquoted, and its value's JSON text.
type member struct{ name, raw string }

// readObject takes a value apart; nil when it is no object.
func readObject(value gjson.Result) *object {
	if !value.IsObject() {
		return nil
	}
	o := &object{}
	value.ForEach(func(name, value gjson.Result) bool {
		o.set(name.Str, value.Raw)
		return true
	})
	return o
}

// readArray returns the elements of a JSON array; none when raw is anything else.
func readArray(raw string) []string {
	var elements []string
	if list := gjson.Parse(raw); list.IsArray() {
		list.ForEach(func(_, element gjson.Result) bool {
			elements = append(elements, element.Raw)
			return true
		})
	}
	return elements
}

// get returns a member's JSON text, "" when there is none.
func (o *object) get(name string) string {
	for _, m := range o.members {
		if m.name == name {
			return m.raw
		}
	}
	return ""
}

// text returns a member that is a JSON string with its quotes, and an empty string for any other.
func (o *object) text(name string) string {
	if raw := o.get(name); strings.HasPrefix(raw, `"`) {
		return raw
	}
	return `""`
}

// set replaces a member where it stands, or appends it.
func (o *object) set(name, raw string) {
	for i := range o.members {
		if o.members[i].name == name {
			o.members[i].raw = raw
			return
		}
	}
	o.members = append(o.members, member{name, raw})
}

// merge sets each member of a JSON object, but never replaces a value by null: a field that a later event does not
// know keeps what an earlier one said.
func (o *object) merge(value gjson.Result) {
	if !value.IsObject() {
		return
	}
	value.ForEach(func(name, value gjson.Result) bool {
		if value.Type != gjson.Null || o.get(name.Str) == "" {
			o.set(name.Str, value.Raw)
		}
		return true
	})
}

// String puts the object together.
func (o *object) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range o.members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quote(m.name))
		b.WriteByte(':')
		b.WriteString(m.raw)
	}
	b.WriteByte('}')
	return b.String()
}

// quote writes text as a JSON string.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""` // cannot happen: any string can be marshalled
	}
	return string(quoted)
}
