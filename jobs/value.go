package jobs

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// valueKind is what a template's value is.
type valueKind uint8

const (
	// valueMissing is a column, member or element that is not there: it counts as empty where a template asks
	// whether something is there, and is an error where it would be printed.
	valueMissing valueKind = iota
	valueNull
	valueBoolean
	valueNumber
	valueText
	valueList
	valueObject
)

// String names the kind in errors.
func (k valueKind) String() string {
	return [...]string{"missing", "null", "a boolean", "a number", "text", "a list", "an object"}[k]
}

// value is what a template computes with. It keeps the JSON text that the input gave, so that numbers and member
// order come out as they went in, and decodes only what is asked for.
type value struct {
	kind valueKind
	// raw is the JSON text; nil for missing values and for text that the template made.
	raw []byte
	// text is the text where raw is nil; of a missing value, the sentence that says what is missing.
	text string
}

func missingValue(sentence string) value { return value{kind: valueMissing, text: sentence} }

func textValue(s string) value { return value{kind: valueText, text: s} }

func intValue(n int) value {
	return value{kind: valueNumber, raw: strconv.AppendInt(nil, int64(n), 10)}
}

func boolValue(b bool) value {
	return value{kind: valueBoolean, raw: strconv.AppendBool(nil, b)}
}

// jsonValue takes one valid JSON text.
func jsonValue(raw []byte) value {
	raw = raw[skipSpace(raw, 0):]
	if len(raw) == 0 {
		return value{kind: valueNull, raw: []byte("null")}
	}
	switch raw[0] {
	case 'n':
		return value{kind: valueNull, raw: raw}
	case 't', 'f':
		return value{kind: valueBoolean, raw: raw}
	case '"':
		return value{kind: valueText, raw: raw}
	case '[':
		return value{kind: valueList, raw: raw}
	case '{':
		return value{kind: valueObject, raw: raw}
	default:
		return value{kind: valueNumber, raw: raw}
	}
}

// appendTo appends the value as a prompt shows it: text as it is, nothing for null, other values as JSON.
func (v value) appendTo(dst []byte) []byte {
	switch {
	case v.kind == valueNull || v.kind == valueMissing:
		return dst
	case v.kind == valueText && v.raw == nil:
		return append(dst, v.text...)
	case v.kind == valueText:
		return appendUnquoted(dst, v.raw)
	case v.kind == valueList || v.kind == valueObject:
		return appendCompact(dst, v.raw)
	default:
		return append(dst, bytes.TrimSpace(v.raw)...)
	}
}

// appendJSON appends the value as one compact JSON text.
func (v value) appendJSON(dst []byte) []byte {
	if v.raw == nil {
		return appendQuoted(dst, []byte(v.text))
	}
	if v.kind == valueText {
		return appendQuoted(dst, appendUnquoted(nil, v.raw))
	}
	return appendCompact(dst, v.raw)
}

// String is the value as a prompt shows it.
func (v value) String() string {
	if v.raw == nil && v.kind == valueText {
		return v.text
	}
	return string(v.appendTo(nil))
}

// truth reports whether if and with take the value: everything but false, 0, "", empty lists and objects, null and
// what is missing.
func (v value) truth() bool {
	switch v.kind {
	case valueBoolean:
		return v.raw[0] == 't'
	case valueNumber:
		return compareNumbers(string(v.raw), "0") != 0
	case valueText:
		return len(v.raw) > 2 || v.raw == nil && v.text != ""
	case valueList, valueObject:
		return v.size() > 0
	default:
		return false
	}
}

// size counts the elements of a list, the members of an object, the characters of a text.
func (v value) size() int {
	n := 0
	switch v.kind {
	case valueList:
		for range ArrayElements(v.raw) {
			n++
		}
	case valueObject:
		for range ObjectMembers(v.raw) {
			n++
		}
	case valueText:
		n = utf8.RuneCountInString(v.String())
	default:
	}
	return n
}

// member finds a member of an object.
func (v value) member(name string) (value, bool) {
	for key, raw := range ObjectMembers(v.raw) {
		if key == name {
			return jsonValue(raw), true
		}
	}
	return value{}, false
}

// appendUnquoted appends the text of a JSON string. Nearly all strings of an input hold no escape at all.
func appendUnquoted(dst, quoted []byte) []byte {
	quoted = bytes.TrimSpace(quoted)
	if bytes.IndexByte(quoted, '\\') < 0 && len(quoted) >= 2 {
		return append(dst, quoted[1:len(quoted)-1]...)
	}
	// The only error on valid JSON is a lone surrogate, which becomes U+FFFD as everywhere in Go.
	dst, _ = jsontext.AppendUnquote(dst, quoted)
	return dst
}

// appendQuoted appends text as a JSON string: only what JSON demands is escaped, so that <, > and & reach the model as
// they are. Invalid UTF-8 becomes U+FFFD.
func appendQuoted(dst, text []byte) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // its only error, invalid UTF-8, it has replaced
	return dst
}

// appendEscaped appends what stands between the quotes of a JSON string.
func appendEscaped(dst, text []byte) []byte {
	start := len(dst)
	dst = appendQuoted(dst, text)
	return slices.Delete(dst[:len(dst)-1], start, start+1)
}

// appendCompact appends a valid JSON text without the space between its tokens; numbers, member order and the
// spelling of strings stay.
func appendCompact(dst, text []byte) []byte {
	for at := 0; at < len(text); {
		switch text[at] {
		case ' ', '\n', '\r', '\t':
			at++
		case '"':
			end := stringEnd(text, at)
			dst = append(dst, text[at:end]...)
			at = end
		default:
			dst = append(dst, text[at])
			at++
		}
	}
	return dst
}

// AppendString appends a Go string, or bytes, as a JSON string with no more escapes than JSON needs.
func AppendString[T ~string | ~[]byte](dst []byte, text T) []byte {
	return appendQuoted(dst, []byte(text))
}

// quoteJSON is text as a JSON string.
func quoteJSON(text string) json.RawMessage { return AppendString(nil, text) }
