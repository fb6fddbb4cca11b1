package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// function is a function that templates can call.
type function struct {
	usage string
	// least and most bound the arguments, the piped one included; most is -1 when there is no bound.
	least, most int
	// tolerant functions take what is missing as empty.
	tolerant bool
	call     func(r *rendering, args []value) (value, error)
}

// functions are all functions. Those without call are the evaluator's own business: and and or leave arguments alone,
// include evaluates again.
var functions = map[string]function{
	"and":      {usage: "and .a .b", least: 1, most: -1, tolerant: true},
	"or":       {usage: "or .a .b", least: 1, most: -1, tolerant: true},
	"not":      {usage: "not .a", least: 1, most: 1, tolerant: true, call: callNot},
	"col":      {usage: `col "Column name"`, least: 1, most: 1, call: callCol},
	"default":  {usage: `default "text" .column`, least: 2, most: 2, tolerant: true, call: callDefault},
	"eq":       {usage: "eq .a .b", least: 2, most: -1, call: callEq},
	"ne":       {usage: "ne .a .b", least: 2, most: 2, call: callNe},
	"lt":       {usage: "lt .a .b", least: 2, most: 2, call: ordered("lt", func(order int) bool { return order < 0 })},
	"le":       {usage: "le .a .b", least: 2, most: 2, call: ordered("le", func(order int) bool { return order <= 0 })},
	"gt":       {usage: "gt .a .b", least: 2, most: 2, call: ordered("gt", func(order int) bool { return order > 0 })},
	"ge":       {usage: "ge .a .b", least: 2, most: 2, call: ordered("ge", func(order int) bool { return order >= 0 })},
	"file":     {usage: `file "path"`, least: 1, most: 1, call: callFile},
	"include":  {usage: `include "path"`, least: 1, most: 1},
	"index":    {usage: "index .list 0", least: 2, most: -1, call: callIndex},
	"join":     {usage: `join ", " .list`, least: 2, most: 2, call: callJoin},
	"json":     {usage: "json .column", least: 1, most: 1, call: callJSON},
	"len":      {usage: "len .list", least: 1, most: 1, call: callLen},
	"truncate": {usage: "truncate 500 .column", least: 2, most: 2, call: callTruncate},
}

// functionNames lists the functions for error messages.
var functionNames = []string{
	"and", "col", "default", "eq", "file", "ge", "gt", "include", "index", "join", "json", "le", "len", "lt", "ne",
	"not", "or", "truncate",
}

func callNot(_ *rendering, args []value) (value, error) { return boolValue(!args[0].truth()), nil }

func callCol(r *rendering, args []value) (value, error) { return r.column(args[0].text), nil }

func callDefault(_ *rendering, args []value) (value, error) {
	switch v := args[1]; v.kind {
	case valueMissing, valueNull:
		return args[0], nil
	case valueText, valueList, valueObject:
		if !v.truth() {
			return args[0], nil
		}
		return v, nil
	default:
		return v, nil
	}
}

func callEq(_ *rendering, args []value) (value, error) {
	return boolValue(slices.ContainsFunc(args[1:], func(v value) bool { return equalValues(args[0], v) })), nil
}

func callNe(_ *rendering, args []value) (value, error) {
	return boolValue(!equalValues(args[0], args[1])), nil
}

// ordered makes a comparison that is false beside null.
func ordered(name string, holds func(order int) bool) func(*rendering, []value) (value, error) {
	return func(_ *rendering, args []value) (value, error) {
		a, b := args[0], args[1]
		if a.kind == valueNull || b.kind == valueNull {
			return boolValue(false), nil
		}
		order, ok := compareValues(a, b)
		if !ok {
			return value{}, fmt.Errorf("%s cannot compare %s with %s", name, a.kind, b.kind)
		}
		return boolValue(holds(order)), nil
	}
}

func callFile(r *rendering, args []value) (value, error) {
	return textValue(r.t.files[args[0].text]), nil
}

func callIndex(_ *rendering, args []value) (value, error) {
	v := args[0]
	for _, key := range args[1:] {
		switch v.kind {
		case valueMissing, valueNull:
			return v, nil
		case valueList:
			place, err := strconv.Atoi(key.String())
			if err != nil || key.kind != valueNumber {
				return value{}, fmt.Errorf("index takes a whole number for a list, not %s", key.kind)
			}
			v = v.element(place)
		case valueObject:
			if key.kind != valueText {
				return value{}, fmt.Errorf("index takes a name for an object, not %s", key.kind)
			}
			found, ok := v.member(key.String())
			if !ok {
				found = missingValue("index: the object has no such member")
			}
			v = found
		default:
			return value{}, fmt.Errorf("index takes a list or an object, not %s", v.kind)
		}
	}
	return v, nil
}

// element returns a list's element; missing when there is none.
func (v value) element(place int) value {
	n := 0
	for raw := range ArrayElements(v.raw) {
		if n == place {
			return jsonValue(raw)
		}
		n++
	}
	return missingValue("index: the list has no such element")
}

func callJoin(_ *rendering, args []value) (value, error) {
	separator, list := args[0].String(), args[1]
	switch list.kind {
	case valueNull:
		return textValue(""), nil
	case valueList:
	default:
		return value{}, fmt.Errorf("join takes a list, not %s", list.kind)
	}
	var joined []byte
	first := true
	for raw := range ArrayElements(list.raw) {
		if !first {
			joined = append(joined, separator...)
		}
		first = false
		joined = jsonValue(raw).appendTo(joined)
	}
	return textValue(string(joined)), nil
}

func callJSON(_ *rendering, args []value) (value, error) {
	return textValue(string(args[0].appendJSON(nil))), nil
}

func callLen(_ *rendering, args []value) (value, error) {
	switch v := args[0]; v.kind {
	case valueNull:
		return intValue(0), nil
	case valueText, valueList, valueObject:
		return intValue(v.size()), nil
	default:
		return value{}, fmt.Errorf("len takes text, a list or an object, not %s", v.kind)
	}
}

func callTruncate(_ *rendering, args []value) (value, error) {
	limit, err := strconv.Atoi(args[0].String())
	if err != nil || limit < 0 || args[0].kind != valueNumber {
		return value{}, errors.New("truncate takes how many characters to keep first: {{truncate 500 .column}}")
	}
	text := args[1].String()
	end := 0
	for ; limit > 0 && end < len(text); limit-- {
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
	}
	return textValue(text[:end]), nil
}
