package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// schemaColumns types the properties of an object's schema for the output. What a column cannot hold exactly, such
// as a choice between types or a reference, is JSON.
func schemaColumns(schema json.RawMessage) Schema {
	var columns Schema
	properties, _ := jsonValue(schema).member("properties")
	if properties.kind != valueObject {
		return nil
	}
	for name, property := range ObjectMembers(properties.raw) {
		columns = append(columns, Column{Name: name, Type: schemaType(property)})
	}
	return columns
}

// schemaType is the type of the values that fit a schema.
func schemaType(schema json.RawMessage) Type {
	v := jsonValue(schema)
	if v.kind != valueObject {
		return Type{Kind: KindJSON}
	}
	if choice, ok := nullableChoice(v); ok {
		return schemaType(choice)
	}
	switch typeName(v) {
	case "string":
		return Type{Kind: KindString}
	case "integer":
		return Type{Kind: KindInteger}
	case "number":
		return Type{Kind: KindNumber}
	case "boolean":
		return Type{Kind: KindBoolean}
	case "array":
		if items, ok := v.member("items"); ok {
			if element := schemaType(items.raw); element.Kind != KindJSON {
				return Type{Kind: KindList, Element: &element}
			}
		}
	case "object":
		more, ok := v.member("additionalProperties")
		fields := schemaColumns(schema)
		typed := !slices.ContainsFunc(fields, func(c Column) bool { return c.Type.Kind == KindJSON })
		if ok && more.kind == valueBoolean && !more.truth() && len(fields) > 0 && typed {
			return Type{Kind: KindStruct, Fields: fields}
		}
	}
	return Type{Kind: KindJSON}
}

// nullableChoice returns the schema that stands beside null in an anyOf or oneOf of two.
func nullableChoice(schema value) (json.RawMessage, bool) {
	for _, keyword := range []string{"anyOf", "oneOf"} {
		options, ok := schema.member(keyword)
		if !ok || options.kind != valueList {
			continue
		}
		var others []json.RawMessage
		nulls := 0
		for option := range ArrayElements(options.raw) {
			if v := jsonValue(option); v.kind == valueObject && typeName(v) == "null" {
				nulls++
			} else {
				others = append(others, option)
			}
		}
		if nulls == 1 && len(others) == 1 {
			return others[0], true
		}
	}
	return nil, false
}

// typeName is the one type, null aside, of the values that a schema's type, enum or const allows; empty when there
// are several.
func typeName(schema value) string {
	var names []string
	note := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if declared, ok := schema.member("type"); ok && declared.kind == valueText {
		return declared.String()
	} else if ok && declared.kind == valueList {
		for name := range ArrayElements(declared.raw) {
			note(jsonValue(name).String())
		}
	} else if choices, ok := schema.member("enum"); ok && choices.kind == valueList {
		for choice := range ArrayElements(choices.raw) {
			note(typeOf(jsonValue(choice)))
		}
	} else if only, ok := schema.member("const"); ok {
		note(typeOf(only))
	}
	if len(names) > 1 {
		names = slices.DeleteFunc(names, func(name string) bool { return name == "null" })
	}
	if len(names) == 2 && slices.Contains(names, "integer") && slices.Contains(names, "number") {
		return "number"
	}
	if len(names) == 1 {
		return names[0]
	}
	return ""
}

// typeOf is JSON Schema's name for the type of a value.
func typeOf(v value) string {
	switch v.kind {
	case valueText:
		return "string"
	case valueBoolean:
		return "boolean"
	case valueNumber:
		if bytes.ContainsAny(v.raw, ".eE") {
			return "number"
		}
		return "integer"
	case valueList:
		return "array"
	case valueObject:
		return "object"
	default:
		return "null"
	}
}

// encodings are what the values of a column are in JSON, for the kinds that an answer can have.
var encodings = map[Kind]valueKind{
	KindString: valueText, KindBoolean: valueBoolean, KindInteger: valueNumber, KindNumber: valueNumber,
	KindList: valueList, KindStruct: valueObject,
}

// conform gives a JSON value the encoding that its type has in a column (see Kind), and says what is wrong with one
// that has none, without quoting it. It appends to dst.
func conform(dst []byte, raw json.RawMessage, t Type) ([]byte, error) {
	v := jsonValue(raw)
	if v.kind == valueNull {
		return append(dst, "null"...), nil
	}
	if kind, ok := encodings[t.Kind]; ok && kind != v.kind {
		return nil, fmt.Errorf("is %s, where the column holds %s", v.kind, kind)
	}
	switch t.Kind {
	case KindInteger:
		return conformInteger(dst, v)
	case KindNumber:
		text := bytes.TrimSpace(v.raw)
		if _, err := strconv.ParseFloat(string(text), 64); err != nil {
			return nil, errors.New("is a number beyond 64 bits")
		}
		return append(dst, text...), nil
	case KindList:
		return conformList(dst, v, *t.Element)
	case KindStruct:
		return conformStruct(dst, v, t.Fields)
	default:
		return v.appendJSON(dst), nil
	}
}

// conformInteger spells a whole number in digits: JSON Schema counts 3.0 and 3e2 as integers.
func conformInteger(dst []byte, v value) ([]byte, error) {
	text := string(bytes.TrimSpace(v.raw))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return strconv.AppendInt(dst, n, 10), nil
	}
	d := normalNumber(text)
	const mostDigits = 19
	if d.exponent > mostDigits {
		return nil, errors.New("is an integer beyond 64 bits")
	}
	if int64(len(d.digits)) > max(d.exponent, 0) {
		return nil, errors.New("is not a whole number")
	}
	digits := d.digits
	for int64(len(digits)) < d.exponent {
		digits += "0"
	}
	if d.sign < 0 {
		digits = "-" + digits
	}
	if digits == "" {
		digits = "0"
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return nil, errors.New("is an integer beyond 64 bits")
	}
	return strconv.AppendInt(dst, n, 10), nil
}

func conformList(dst []byte, v value, element Type) ([]byte, error) {
	dst = append(dst, '[')
	n := 0
	for raw := range ArrayElements(v.raw) {
		if n > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = conform(dst, raw, element); err != nil {
			return nil, fmt.Errorf("element %d %w", n, err)
		}
		n++
	}
	return append(dst, ']'), nil
}

func conformStruct(dst []byte, v value, fields []Column) ([]byte, error) {
	dst = append(dst, '{')
	for i, field := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, field.Name), ':')
		member, ok := v.member(field.Name)
		if !ok {
			dst = append(dst, "null"...)
			continue
		}
		var err error
		if dst, err = conform(dst, member.raw, field.Type); err != nil {
			return nil, fmt.Errorf("member %s %w", field.Name, err)
		}
	}
	return append(dst, '}'), nil
}
