package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/template/parse"
	"unicode"
)

// TemplateSource is what a request is compiled from.
type TemplateSource struct {
	// Body is the job's request section as one JSON object, keys in the job's order. Each string in it is a template.
	Body json.RawMessage
	// Answer, if any, is put at output_config.format.
	Answer *Answer
	// Dir is the folder that relative paths of file and include start from, also within included files.
	Dir string
	// Where says where ("job.yaml:12:7") the value with a JSON pointer into Body ("/messages/0/content") stands;
	// nil, or an empty answer, names it by its path in the request instead.
	Where func(pointer string) string
}

// Template renders the request of a record: the compiled request section of a job. It is safe for concurrent use.
//
// The language is Go's text/template with values and functions of its own, made for prompts:
//
//   - Null prints nothing, numbers print as the input spells them, lists and objects as compact JSON in the
//     input's member order, dates and all other text as they are.
//   - {{.column}} and {{.column.member}} print; {{if}}, {{with}}, {{range}}, variables and pipelines are Go's.
//   - col "Ticket ID" is the column of that name; json v is v as JSON; file "p" is the text of a file and
//     include "p" a template with the same record; truncate n v keeps n characters; default d v is d when v is
//     null, missing or empty; join sep list; len v; index v key...
//   - eq, ne, lt, le, gt and ge compare numbers by value and text byte by byte; text beside a number counts as a
//     number when it spells one; nothing is less or greater than null. eq and ne, and, or and not are Go's otherwise.
//   - A column or member that the record does not have is an error where it is used, except in if, with, and, or,
//     not and default, where it counts as empty.
//   - A string that is nothing but {{json v}} becomes that JSON value in the body instead of a string.
type Template struct {
	ops       []op
	files     map[string]string
	includes  map[string]*parse.ListNode
	columns   []columnUse
	source    string
	digest    Digest
	model     string
	maxTokens int64
	// prewarm marks a request that says max_tokens: 0, whose answers always end at once.
	prewarm bool
	states  sync.Pool
}

// op is one step in writing a body: bytes that never change, text within a JSON string, or a JSON value.
type op struct {
	literal []byte
	text    parse.Node
	json    *parse.PipeNode
}

// columnUse is the first place that uses a column.
type columnUse struct{ name, place string }

// NewTemplate compiles the request section of a job and reads the files that it names. An error says where the
// fault is and how to mend it.
func NewTemplate(src TemplateSource) (*Template, error) {
	t := &Template{files: map[string]string{}, includes: map[string]*parse.ListNode{}}
	t.states.New = func() any { return &rendering{t: t} }
	c := &templateCompiler{src: src, t: t}
	if !json.Valid(src.Body) || jsonValue(src.Body).kind != valueObject {
		return nil, fmt.Errorf("%s: request must be an object: the body of a call to /v1/messages", c.whereIs(""))
	}
	if err := c.object(src.Body, ""); err != nil {
		return nil, err
	}
	var err error
	if t.source, err = c.describe(); err != nil {
		return nil, fmt.Errorf("describe request: %w", err)
	}
	t.digest = DigestOf([]byte(t.source))
	return t, nil
}

// Columns lists the columns that the template names, in the order of their first use. A template that uses the
// whole record ({{json .}}) may need others.
func (t *Template) Columns() []string {
	names := make([]string, len(t.columns))
	for i, use := range t.columns {
		names[i] = use.name
	}
	return names
}

// Check reports the first column that the template names and the input does not have.
func (t *Template) Check(columns []string) error {
	for _, use := range t.columns {
		if slices.Contains(columns, use.name) {
			continue
		}
		return fmt.Errorf("%s: %s", use.place, unknownColumn(use.name, columns, reference))
	}
	return nil
}

// Render gives the body of the record's call: compact JSON, keys in the job's order. The error says what is wrong
// with the record without quoting anything of it.
func (t *Template) Render(rec *Record) ([]byte, error) {
	r := t.states.Get().(*rendering) // the pool holds nothing else
	defer r.release()
	r.rec = rec
	if err := r.body(); err != nil {
		return nil, err
	}
	return bytes.Clone(r.out), nil
}

// Digest identifies the request: its templates, the schema of its answer, and the contents of the files that it
// names.
func (t *Template) Digest() Digest { return t.digest }

// Source is the request for people to read and compare: indented JSON of the request as the job has it, the schema
// of the answer, and the digests of the files by the paths that the job uses.
func (t *Template) Source() string { return t.source }

// Model is the request's model; empty when a template decides it.
func (t *Template) Model() string { return t.model }

// MaxTokens is the request's max_tokens; 0 when a template decides it.
func (t *Template) MaxTokens() int64 { return t.maxTokens }

// unknownColumn says that a column does not exist, which ones do, and which one was meant, written as its place asks.
func unknownColumn(name string, columns []string, written func(string) string) string {
	const shown = 30
	var b strings.Builder
	fmt.Fprintf(&b, "no column %q", name)
	near := nearest(name, columns)
	for _, column := range columns {
		if strings.HasPrefix(column, name+".") {
			near = column // {{.a.b}} for a column called "a.b"
		}
	}
	b.WriteByte(';')
	if near != "" {
		fmt.Fprintf(&b, " did you mean %s?", written(near))
	}
	if len(columns) == 0 {
		b.WriteString(" the input has no columns")
		return b.String()
	}
	b.WriteString(" the input has ")
	for i, column := range columns {
		if i == shown {
			fmt.Fprintf(&b, " and %d more", len(columns)-shown)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(column)
	}
	return b.String()
}

// reference is how a template names a column.
func reference(column string) string {
	for i, r := range column {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return "{{col " + strconv.Quote(column) + "}}"
		}
	}
	return "{{." + column + "}}"
}
