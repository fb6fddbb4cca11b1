package jsonl

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// flawError is why a line is not a record. The decoder's own errors quote the line, which must not reach a log, so a
// flaw is made from the place of the error alone.
type flawError struct {
	reason string
	at     int // the byte within the line, counted from 1; 0 when the place says nothing
}

// Error says the reason and the byte.
func (f *flawError) Error() string {
	if f.at == 0 {
		return f.reason
	}
	return fmt.Sprintf("%s at byte %d", f.reason, f.at)
}

// flawOf explains an error of the decoder.
func flawOf(line []byte, err error) *flawError {
	if errors.Is(err, io.EOF) {
		return &flawError{reason: "not a JSON object but nothing"}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &flawError{reason: "cut off: the line ends before the JSON does"}
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) || syntax.ByteOffset < 0 || syntax.ByteOffset >= int64(len(line)) {
		return &flawError{reason: "invalid JSON"}
	}
	at := int(syntax.ByteOffset)
	place := at + 1
	switch rest := line[at:]; {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return &flawError{reason: "duplicate name", at: place}
	case errors.Is(err, jsontext.ErrNonStringName):
		return &flawError{reason: "a name that is not a JSON string", at: place}
	case isInvalidUTF8(rest):
		return &flawError{reason: "invalid UTF-8", at: place}
	case rest[0] == 0:
		return &flawError{reason: "NUL", at: place}
	case rest[0] < ' ':
		return &flawError{reason: "unescaped control character", at: place}
	case rest[0] == '\\' && isSurrogate(rest):
		return &flawError{reason: "lone surrogate", at: place}
	case rest[0] == '\\':
		return &flawError{reason: "invalid escape sequence", at: place}
	default:
		return &flawError{reason: "invalid JSON", at: place}
	}
}

func isInvalidUTF8(text []byte) bool {
	r, size := utf8.DecodeRune(text)
	return r == utf8.RuneError && size == 1
}

// isSurrogate reports whether text starts with an escape \uD800 to \uDFFF.
func isSurrogate(text []byte) bool {
	return len(text) >= 4 && text[1] == 'u' && (text[2] == 'd' || text[2] == 'D') &&
		strings.IndexByte("89abcdefABCDEF", text[3]) >= 0
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginArray:
		return "a list"
	default:
		return "something else"
	}
}
