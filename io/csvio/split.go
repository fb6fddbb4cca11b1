package csvio

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// span is where a field lies in its row: the text inside its quotes, if it has any.
type span struct {
	start, end int
	escaped    bool // holds doubled quotes
}

// split finds the fields of a row without its line break, appends them to fields, and says what is wrong with the
// row's quotes, if anything is; bytes count from 1.
func split(row []byte, comma byte, fields []span) (found []span, flaw string) {
	for at := 0; ; {
		end := len(row)
		if at < len(row) && row[at] == '"' {
			field, after, closed := quotedField(row, at)
			if !closed {
				return nil, fmt.Sprintf("a quote that is not closed at byte %d", at+1)
			}
			if after < len(row) && row[after] != comma {
				return nil, fmt.Sprintf("text after a closing quote at byte %d", after+1)
			}
			fields = append(fields, field)
			end = after
		} else {
			if i := bytes.IndexByte(row[at:], comma); i >= 0 {
				end = at + i
			}
			if i := bytes.IndexByte(row[at:end], '"'); i >= 0 {
				return nil, fmt.Sprintf("a quote in a field without quotes around it at byte %d", at+i+1)
			}
			fields = append(fields, span{start: at, end: end})
		}
		if end == len(row) {
			return fields, ""
		}
		at = end + 1
	}
}

// quotedField finds the end of the field that opens with the quote at an index, and where the row goes on.
func quotedField(row []byte, at int) (field span, after int, closed bool) {
	field.start = at + 1
	for i := at + 1; ; i += 2 {
		next := bytes.IndexByte(row[min(i, len(row)):], '"')
		if next < 0 {
			return span{}, 0, false
		}
		i += next
		if i+1 == len(row) || row[i+1] != '"' {
			field.end = i
			return field, i + 1, true
		}
		field.escaped = true
	}
}

// appendUnescaped appends the text of a quoted field with single quotes for its doubled ones.
func appendUnescaped(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '"')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i+1]...)
		raw = raw[i+2:]
	}
}

// textFlaw says why the bytes of a row are not text, or nothing when they are.
func textFlaw(row []byte) string {
	if i := bytes.IndexByte(row, 0); i >= 0 {
		return fmt.Sprintf("NUL at byte %d", i+1)
	}
	if utf8.Valid(row) {
		return ""
	}
	valid := 0
	for {
		r, size := utf8.DecodeRune(row[valid:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Sprintf("invalid UTF-8 at byte %d", valid+1)
		}
		valid += size
	}
}
