package messages

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Size is how large a request is.
type Size struct {
	Text  int   // bytes of JSON that become text tokens: everything but media
	Media int64 // tokens that images and documents in it will cost, estimated from their dimensions and size
}

// Measure says how large a request is, for an estimate of its input tokens. It decodes no image and no document: the
// first bytes of each tell enough. A body that is no JSON object is text as a whole.
func Measure(body []byte) Size {
	all := Size{Text: len(body)}
	// Images and documents have a source, and most requests have none. Quotes within a prompt are escaped, so that
	// what it says of a source is not taken for one.
	if !bytes.Contains(body, []byte(`"source"`)) {
		return all
	}
	r := mediaReader{body: body, dec: jsontext.NewDecoder(
		bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	if r.request() != nil {
		return all
	}
	limit := imageLimitOf(r.model)
	size := Size{Text: len(body) - r.encoded, Media: r.documents}
	for _, p := range r.images {
		size.Media += limit.tokens(p)
	}
	return size
}

// maxContentDepth bounds how deep blocks are looked for in the content of blocks; the deepest that the API knows is an
// image in the content source of a document in a tool's result.
const maxContentDepth = 8

// mediaReader finds the media of a request in one pass. Its methods read the value that comes next, and return an error
// only for JSON that is broken.
type mediaReader struct {
	body []byte
	dec  *jsontext.Decoder

	model     string
	images    []pixels // their cost is known when the model is, which may come last
	documents int64    // tokens
	encoded   int      // bytes of base64
}

func (r *mediaReader) request() error {
	err := r.members(func(name []byte) error {
		switch string(name) {
		case `"model"`:
			return r.text(&r.model)
		case `"messages"`:
			return r.elements(func() error {
				return r.members(func(name []byte) error {
					if string(name) == `"content"` {
						return r.content(1)
					}
					return r.dec.SkipValue()
				})
			})
		case `"system"`:
			return r.content(1)
		}
		return r.dec.SkipValue()
	})
	if err != nil {
		return err
	}
	if _, err = r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// content reads blocks, or the one that a web_fetch_tool_result has in place of a list.
func (r *mediaReader) content(depth int) error {
	switch kind := r.dec.PeekKind(); {
	case depth > maxContentDepth:
	case kind == '[':
		return r.elements(func() error { return r.block(depth) })
	case kind == '{':
		return r.block(depth)
	}
	return r.dec.SkipValue()
}

// block reads a content block. What else a block holds, like the input of a tool_use, is text.
func (r *mediaReader) block(depth int) error {
	var kind string
	var from source
	err := r.members(func(name []byte) error {
		switch string(name) {
		case `"type"`:
			return r.text(&kind)
		case `"source"`:
			from = source{}
			return r.source(&from, depth)
		case `"content"`:
			return r.content(depth + 1)
		}
		return r.dec.SkipValue()
	})
	if err != nil {
		return err
	}
	switch from.kind {
	case "base64", "url", "file":
	default:
		return nil // text, blocks that were read, or nothing
	}
	switch kind {
	case "image":
		r.images = append(r.images, measureImage(from.data))
	case "document":
		r.documents += documentTokens(from.data)
	default:
		return nil
	}
	r.encoded += len(from.data)
	return nil
}

// source is where a block's image or document comes from.
type source struct {
	kind string
	data []byte // a JSON string without its quotes; nil when there is none
}

func (r *mediaReader) source(from *source, depth int) error {
	return r.members(func(name []byte) error {
		switch string(name) {
		case `"type"`:
			return r.text(&from.kind)
		case `"data"`:
			value, err := r.dec.ReadValue()
			from.data = nil
			if end := r.dec.InputOffset(); err == nil && value.Kind() == '"' {
				from.data = r.body[end-int64(len(value))+1 : end-1] // value itself is good until the next one only
			}
			return err
		case `"content"`:
			return r.content(depth + 1)
		}
		return r.dec.SkipValue()
	})
}

// members calls each with the name, in quotes, of every member of an object; each reads the member's value. A value
// that is no object is skipped.
func (r *mediaReader) members(each func(name []byte) error) error {
	if r.dec.PeekKind() != '{' {
		return r.dec.SkipValue()
	}
	_, err := r.dec.ReadToken()
	for err == nil && r.dec.PeekKind() == '"' {
		var name jsontext.Value
		if name, err = r.dec.ReadValue(); err == nil {
			err = each(name)
		}
	}
	if err == nil {
		_, err = r.dec.ReadToken()
	}
	return err
}

// elements calls each for every element of an array, to read it. A value that is no array is skipped.
func (r *mediaReader) elements(each func() error) error {
	if r.dec.PeekKind() != '[' {
		return r.dec.SkipValue()
	}
	_, err := r.dec.ReadToken()
	for err == nil && r.dec.PeekKind() != ']' {
		err = each() // which meets the error when there is no next element
	}
	if err == nil {
		_, err = r.dec.ReadToken()
	}
	return err
}

// text reads a string; any other value counts as an empty one.
func (r *mediaReader) text(into *string) error {
	value, err := r.dec.ReadValue()
	if err != nil {
		return err
	}
	*into = ""
	if value.Kind() == '"' {
		unquoted, _ := jsontext.AppendUnquote(nil, value) // its only error here, invalid UTF-8, it has replaced
		*into = string(unquoted)
	}
	return nil
}
