package jsonl

import (
	"bytes"
	"encoding/json"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchwright/batchwright/jobs"
)

// Bounds on the names kept for reuse, so that input with ever new names cannot fill the memory.
const (
	maxInternedNames = 4096
	maxInternedBytes = 64
)

var parsers = sync.Pool{New: func() any { return newParser() }}

// ParseObject reads one JSON object, strictly by RFC 7493: UTF-8 without lone surrogates, no name twice in an
// object at any depth, nothing after the object but white space. It returns the members in order; each value is
// the raw JSON text, a slice of line and valid as long as line is left alone. The error says what is wrong at
// which byte, counted from 1, and holds nothing of the line, so that it can be shown and logged.
func ParseObject(line []byte) ([]jobs.Member, error) {
	p := parsers.Get().(*parser)
	defer parsers.Put(p)
	members, flaw := p.parse(line)
	if flaw != nil {
		return nil, flaw
	}
	return members, nil
}

// AppendObject appends the object {"name":value,…} in the order of fields, always as one line: a line break in a
// value can only be insignificant white space, and becomes a space. Values are taken as they are and must be
// valid JSON; a nil value is written as null.
func AppendObject(dst []byte, fields []jobs.Member) []byte {
	dst = append(dst, '{')
	for i := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		// The only error is a name that is not UTF-8, whose bad bytes are then replaced: the line stays valid.
		dst, _ = jsontext.AppendQuote(dst, fields[i].Name)
		dst = append(dst, ':')
		dst = appendOnOneLine(dst, fields[i].Value)
	}
	return append(dst, '}')
}

func appendOnOneLine(dst []byte, value json.RawMessage) []byte {
	if len(value) == 0 {
		return append(dst, "null"...)
	}
	start := len(dst)
	dst = append(dst, value...)
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 {
		return dst
	}
	for i := start; i < len(dst); i++ {
		if dst[i] == '\n' || dst[i] == '\r' {
			dst[i] = ' '
		}
	}
	return dst
}

// parser keeps what one parse can hand to the next: the decoder's buffers, the names seen, the number of members.
type parser struct {
	decoder *jsontext.Decoder
	source  bytes.Buffer
	names   map[string]string // by their quoted text
	members int
}

func newParser() *parser {
	p := &parser{names: make(map[string]string)}
	p.decoder = jsontext.NewDecoder(&p.source)
	return p
}

func (p *parser) parse(line []byte) ([]jobs.Member, *flawError) {
	// The decoder reads a bytes.Buffer in place; a buffer made of the line costs no copy. The parser must not keep
	// the line alive in a pool.
	p.source = *bytes.NewBuffer(line)
	defer func() { p.source = bytes.Buffer{} }()
	p.decoder.Reset(&p.source)

	start, err := p.decoder.ReadToken()
	if err != nil {
		return nil, flawOf(line, err)
	}
	if start.Kind() != jsontext.KindBeginObject {
		return nil, &flawError{reason: "not a JSON object but " + kindName(start.Kind())}
	}
	members := make([]jobs.Member, 0, p.members)
	for p.decoder.PeekKind() != jsontext.KindEndObject {
		name, err := p.decoder.ReadValue()
		if err != nil {
			return nil, flawOf(line, err)
		}
		member := jobs.Member{Name: p.intern(name)}
		value, err := p.decoder.ReadValue()
		if err != nil {
			return nil, flawOf(line, err)
		}
		end := int(p.decoder.InputOffset())
		member.Value = json.RawMessage(line[end-len(value) : end : end])
		members = append(members, member)
	}
	if _, err := p.decoder.ReadToken(); err != nil {
		return nil, flawOf(line, err)
	}
	for i := int(p.decoder.InputOffset()); i < len(line); i++ {
		if !isSpace(line[i]) {
			return nil, &flawError{reason: "more text after the JSON object", at: i + 1}
		}
	}
	p.members = len(members)
	return members, nil
}

// intern returns the name that the quoted JSON text stands for, without allocating for one seen before.
func (p *parser) intern(quoted jsontext.Value) string {
	if name, ok := p.names[string(quoted)]; ok {
		return name
	}
	unquoted, _ := jsontext.AppendUnquote(nil, quoted) // the decoder has checked it
	name := string(unquoted)
	if len(p.names) < maxInternedNames && len(quoted) <= maxInternedBytes {
		p.names[string(quoted)] = name
	}
	return name
}

// isSpace reports white space as RFC 8259 section 2 has it.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func isBlank(line []byte) bool {
	for _, c := range line {
		if !isSpace(c) {
			return false
		}
	}
	return true
}
