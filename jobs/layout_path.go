package jobs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// answered is a result whose message is read once for all columns.
type answered struct {
	res      *Result
	text     string
	haveText bool
	json     []byte
	haveJSON bool
}

// words is the text of the answer.
func (a *answered) words() string {
	if !a.haveText {
		a.text, a.haveText = Text(a.res.Message), true
	}
	return a.text
}

// document is the answer read as JSON; nil when it is none.
func (a *answered) document() []byte {
	if !a.haveJSON {
		a.haveJSON = true
		if text := []byte(a.words()); json.Valid(text) {
			a.json = text
		}
	}
	return a.json
}

// fillText gives the answer's text; null when there was no message.
func fillText(dst []byte, a *answered) []byte {
	if a.res.Message == nil {
		return append(dst, null...)
	}
	return AppendString(dst, a.words())
}

// fillFailedText gives the text of an answer that is in no column of its own.
func fillFailedText(dst []byte, a *answered) []byte {
	if a.res.Status == Succeeded {
		return append(dst, null...)
	}
	return fillText(dst, a)
}

// fillProperty gives a property of the answer; null unless the record succeeded.
func fillProperty(property Column) func([]byte, *answered) []byte {
	return func(dst []byte, a *answered) []byte {
		if a.res.Status != Succeeded {
			return append(dst, null...)
		}
		return appendMember(dst, a.document(), property)
	}
}

// appendMember appends a member of an object in the encoding of its type; null when there is none that has it.
func appendMember(dst, object []byte, column Column) []byte {
	if v := jsonValue(object); v.kind == valueObject {
		if found, ok := v.member(column.Name); ok {
			if grown, err := conform(dst, found.raw, column.Type); err == nil {
				return grown
			}
		}
	}
	return append(dst, null...)
}

// messagePath is one path of columns.add.
type messagePath struct {
	kind Type
	fill func(dst []byte, a *answered) []byte
}

// pathForm is what a path may look like: names and list places, each after a dot.
var pathForm = regexp.MustCompile(`^(\.[A-Za-z0-9_-]+)+$`)

// messageTypes are the types of members that every message has; whatever else a path finds is JSON.
var messageTypes = map[string]Kind{
	".id": KindString, ".type": KindString, ".role": KindString, ".model": KindString, ".stop_reason": KindString,
	".stop_sequence": KindString, ".stop_details.category": KindString, ".stop_details.explanation": KindString,
	".usage.input_tokens": KindInteger, ".usage.output_tokens": KindInteger,
	".usage.cache_creation_input_tokens": KindInteger, ".usage.cache_read_input_tokens": KindInteger,
	".usage.cache_creation.ephemeral_5m_input_tokens": KindInteger,
	".usage.cache_creation.ephemeral_1h_input_tokens": KindInteger,
	".usage.output_tokens_details.thinking_tokens":    KindInteger,
	".usage.service_tier":                             KindString, ".usage.speed": KindString, ".usage.inference_geo": KindString,
}

// parsePath reads a path of columns.add. .text and .thinking join the blocks of their type, .tool_use lists the blocks
// of its type, .json is the text read as JSON; a path behind .tool_use or .json goes into them, and every other path
// goes into the message as the API sent it. What a path does not find is null.
func parsePath(path string, answer *Answer) (messagePath, error) {
	if !pathForm.MatchString(path) {
		return messagePath{}, fmt.Errorf("%q is not a path into the message: write .text, .json.NAME, .usage.input_tokens or .content.0.type", path)
	}
	root, rest, _ := strings.Cut(path[1:], ".")
	switch {
	case path == ".text":
		return messagePath{Type{Kind: KindString}, fillText}, nil
	case path == ".thinking":
		return messagePath{Type{Kind: KindString}, fillThinking}, nil
	case root == "text" || root == "thinking":
		return messagePath{}, fmt.Errorf("%q: .%s is text and has no members", path, root)
	case root == "tool_use":
		return found(Type{Kind: KindJSON}, rest, func(a *answered) []byte { return toolUses(a.res.Message) }), nil
	case root == "json":
		return found(propertyType(rest, answer), rest, (*answered).document), nil
	default:
		kind, ok := messageTypes[path]
		if !ok {
			kind = KindJSON
		}
		return found(Type{Kind: kind}, path[1:], func(a *answered) []byte { return a.res.Message }), nil
	}
}

// found is the value at a path in a document.
func found(t Type, path string, document func(*answered) []byte) messagePath {
	if path == "" {
		path = "@this"
	}
	return messagePath{t, func(dst []byte, a *answered) []byte {
		value := gjson.GetBytes(document(a), path)
		if value.Raw == "" {
			return append(dst, null...)
		}
		grown, err := conform(dst, json.RawMessage(value.Raw), t)
		if err != nil {
			return append(dst, null...)
		}
		return grown
	}}
}

// propertyType is the type of a property of the answer.
func propertyType(name string, answer *Answer) Type {
	if answer != nil {
		if at := slices.IndexFunc(answer.Properties, func(c Column) bool { return c.Name == name }); at >= 0 {
			return answer.Properties[at].Type
		}
	}
	return Type{Kind: KindJSON}
}

// fillThinking joins the thinking blocks; null when there are none.
func fillThinking(dst []byte, a *answered) []byte {
	thinking := joinBlocks(a.res.Message, "thinking", "thinking")
	if thinking == "" {
		return append(dst, null...)
	}
	return AppendString(dst, thinking)
}

// toolUses lists the tool_use blocks of a message as the API sent them; nil when there are none.
func toolUses(message json.RawMessage) []byte {
	var list []byte
	gjson.GetBytes(message, "content").ForEach(func(_, block gjson.Result) bool {
		if block.Get("type").Str != "tool_use" {
			return true
		}
		list = append(list, ',')
		list = append(list, block.Raw...)
		return true
	})
	if list == nil {
		return nil
	}
	list[0] = '['
	return append(list, ']')
}
