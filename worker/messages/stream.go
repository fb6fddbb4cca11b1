package messages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// collect reads a stream of events (Messages API, "Streaming") and returns the Message that a call without stream
// would have given, fields and block types that nobody knows yet included. An error event ends the stream and is
// returned as the body: Classify reads it like the same error over HTTP. What is no whole stream is an error that
// wraps errStream.
func collect(r io.Reader) ([]byte, error) {
	events := newEventReader(r)
	var a assembly
	for {
		e, err := events.next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: it ends without message_stop", errStream)
		}
		if err != nil {
			return nil, err
		}
		name := e.name
		if string(e.data) == "[DONE]" || ignored(name) {
			continue
		}
		if !wellFormed(e.data) {
			return nil, fmt.Errorf("%w: event %q is cut or broken", errStream, name)
		}
		data := gjson.ParseBytes(e.data)
		if fault := data.Get("error"); name == "error" || fault.Exists() && fault.Type != gjson.Null {
			return e.data, nil
		}
		if kind := word(data.Get("type")); kind != "" {
			name = kind
		}
		if ignored(name) {
			continue
		}
		if err := a.apply(name, data); err != nil {
			return nil, fmt.Errorf("%w: %w", errStream, err)
		}
		if name == "message_stop" {
			return a.message()
		}
	}
}

// ignored reports whether events of that name say nothing about the Message: pings, and any that are new.
func ignored(name string) bool {
	switch name {
	case "", "error", "message", "message_start", "content_block_start", "content_block_delta", "content_block_stop",
		"message_delta", "message_stop":
		return false
	}
	return true
}

// finish reads the end of a stream, so that its connection can serve the next call, but for a second at most: a
// server may keep it open after message_stop.
func finish(body io.Reader, cancel context.CancelFunc) {
	timer := time.AfterFunc(time.Second, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, body, 4<<10)
}

// assembly is a Message that is being put together.
type assembly struct {
	root   *object
	blocks []*block
}

// block is a content block that is being put together.
type block struct {
	index int64
	base  *object
	// grown are the text fields that deltas have made longer.
	grown []*growth
	// input is the JSON text of a tool's input, as far as it has come.
	input     strings.Builder
	citations []string
}

// growth is the inside of a JSON string that grows. It stays escaped: halves of a surrogate pair that come in two
// deltas join again, and nothing is decoded to be encoded again.
type growth struct {
	field string
	text  strings.Builder
}

func (a *assembly) apply(name string, data gjson.Result) error {
	if first := name == "message_start"; first != (a.root == nil) {
		return fmt.Errorf("event %q in the wrong place", name)
	}
	switch name {
	case "message_start":
		a.root = readObject(data.Get("message"))
		if a.root == nil {
			return errors.New("message_start without a message")
		}
	case "content_block_start":
		return a.start(data)
	case "content_block_delta":
		b := a.block(data.Get("index").Int())
		if b == nil {
			return errors.New("delta for a content block that did not start")
		}
		b.grow(data.Get("delta"))
	case "message_delta":
		a.finishWith(data)
	}
	return nil
}

func (a *assembly) start(data gjson.Result) error {
	b := &block{index: data.Get("index").Int(), base: readObject(data.Get("content_block"))}
	if b.base == nil {
		return errors.New("content_block_start without a block")
	}
	if a.block(b.index) != nil {
		return errors.New("content block that starts twice")
	}
	a.blocks = append(a.blocks, b)
	return nil
}

func (a *assembly) block(index int64) *block {
	for _, b := range slices.Backward(a.blocks) {
		if b.index == index {
			return b
		}
	}
	return nil
}

// grow applies a delta. Each known type extends one field; a type that is new extends the fields of the same name.
func (b *block) grow(delta gjson.Result) {
	switch kind := word(delta.Get("type")); kind {
	case "input_json_delta":
		b.input.WriteString(word(delta.Get("partial_json")))
	case "citations_delta":
		if citation := delta.Get("citation"); citation.Exists() {
			b.citations = append(b.citations, citation.Raw)
		}
	case "text_delta", "thinking_delta", "signature_delta":
		field := strings.TrimSuffix(kind, "_delta")
		b.extend(field, delta.Get(field))
	default:
		delta.ForEach(func(field, value gjson.Result) bool {
			if field.Str != "type" {
				b.extend(field.Str, value)
			}
			return true
		})
	}
}

// extend makes a text field longer, and replaces any other.
func (b *block) extend(field string, value gjson.Result) {
	switch value.Type {
	case gjson.String:
		b.growth(field).text.WriteString(inside(value.Raw))
	case gjson.Null: // nothing came, or nothing is known
	default:
		b.base.set(field, value.Raw)
	}
}

func (b *block) growth(field string) *growth {
	for _, g := range b.grown {
		if g.field == field {
			return g
		}
	}
	g := &growth{field: field}
	if start := b.base.get(field); len(start) > 0 && start[0] == '"' {
		g.text.WriteString(inside(start))
	}
	b.grown = append(b.grown, g)
	return g
}

// inside returns a JSON string without its quotes, still escaped.
func inside(raw string) string { return raw[1 : len(raw)-1] }

// finishWith applies a message_delta: what ended the answer, and the final counts.
func (a *assembly) finishWith(data gjson.Result) {
	data.ForEach(func(field, value gjson.Result) bool {
		switch field.Str {
		case "type":
		case "delta":
			a.root.merge(value)
		case "usage":
			usage := cmp.Or(readObject(gjson.Parse(a.root.get("usage"))), &object{})
			usage.merge(value)
			a.root.set("usage", usage.String())
		default:
			a.root.merge(gjson.Parse("{" + field.Raw + ":" + value.Raw + "}"))
		}
		return true
	})
}

// message puts the Message together.
func (a *assembly) message() ([]byte, error) {
	slices.SortFunc(a.blocks, func(b, c *block) int { return int(min(max(b.index-c.index, -1), 1)) })
	cutShort := false
	switch inside(a.root.text("stop_reason")) {
	case "max_tokens", "model_context_window_exceeded":
		cutShort = true
	}
	var content strings.Builder
	content.WriteByte('[')
	for i, b := range a.blocks {
		if err := b.close(cutShort); err != nil {
			return nil, err
		}
		if i > 0 {
			content.WriteByte(',')
		}
		content.WriteString(b.base.String())
		if b.base.text("type") == `"fallback"` {
			// Without a stream, model names the one that answered in the end (beta server-side-fallback).
			if model := gjson.Get(b.base.get("to"), "model"); model.Type == gjson.String {
				a.root.set("model", model.Raw)
			}
		}
	}
	content.WriteByte(']')
	a.root.set("content", content.String())
	return []byte(a.root.String()), nil
}

// close writes what has grown into the block. A tool's input that max_tokens cut in its middle is no JSON and stays
// as its text, so that nothing that was paid for is lost.
func (b *block) close(cutShort bool) error {
	for _, g := range b.grown {
		b.base.set(g.field, `"`+g.text.String()+`"`)
	}
	if len(b.citations) > 0 {
		all := readArray(b.base.get("citations"))
		b.base.set("citations", "["+strings.Join(append(all, b.citations...), ",")+"]")
	}
	if b.input.Len() == 0 {
		return nil
	}
	input := b.input.String()
	switch {
	case wellFormed([]byte(input)):
		b.base.set("input", input)
	case cutShort:
		b.base.set("input", quote(input))
	default:
		return fmt.Errorf("%w: a tool's input is not well-formed JSON", errStream)
	}
	return nil
}
