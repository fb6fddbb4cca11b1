package jobs

import (
	"encoding/json"
	"iter"
	"slices"
)

// ObjectMembers yields the members of a JSON object in order, each value as its text without the space around
// it. The text must be one valid JSON object; what comes after a fault in it is left out.
func ObjectMembers(text json.RawMessage) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		at := skipSpace(text, 0) + 1
		for {
			at = skipSpace(text, at)
			if at >= len(text) || text[at] != '"' {
				return
			}
			end := stringEnd(text, at)
			name, ok := unquote(text[at:end])
			at = skipSpace(text, end)
			if !ok || at >= len(text) || text[at] != ':' {
				return
			}
			at = skipSpace(text, at+1)
			end = valueEnd(text, at)
			if end == at || !yield(name, text[at:end]) {
				return
			}
			at = skipSpace(text, end)
			if at >= len(text) || text[at] != ',' {
				return
			}
			at++
		}
	}
}

// ArrayElements yields the elements of a JSON array in order, each as its text without the space around it. The
// text must be one valid JSON array; what comes after a fault in it is left out.
func ArrayElements(text json.RawMessage) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		at := skipSpace(text, 0) + 1
		for {
			at = skipSpace(text, at)
			end := valueEnd(text, at)
			if end == at || !yield(text[at:end]) {
				return
			}
			at = skipSpace(text, end)
			if at >= len(text) || text[at] != ',' {
				return
			}
			at++
		}
	}
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t') {
		at++
	}
	return at
}

// valueEnd returns where the value that starts at at ends; at itself when no value starts there.
func valueEnd(text []byte, at int) int {
	if at >= len(text) {
		return at
	}
	switch text[at] {
	case '"':
		return stringEnd(text, at)
	case '{', '[':
		depth := 0
		for at < len(text) {
			switch text[at] {
			case '"':
				at = stringEnd(text, at)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			at++
			if depth == 0 {
				return at
			}
		}
		return at
	default:
		for at < len(text) {
			switch text[at] {
			case ',', ']', '}', ':', ' ', '\n', '\r', '\t':
				return at
			}
			at++
		}
		return at
	}
}

// stringEnd returns the place after the closing quote of the string that starts at at.
func stringEnd(text []byte, at int) int {
	for at++; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return len(text)
}

// unquote returns what a JSON string says.
func unquote(text []byte) (string, bool) {
	if len(text) < 2 {
		return "", false
	}
	if slices.Contains(text, '\\') {
		var s string
		err := json.Unmarshal(text, &s)
		return s, err == nil
	}
	return string(text[1 : len(text)-1]), true
}
