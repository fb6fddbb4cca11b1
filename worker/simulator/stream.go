package simulator

import (
	"strconv"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// stream is a message as server-sent events (messages API, section Streaming), with the places at which the service
// would have written so far and waited for the model.
type stream struct {
	body   []byte
	pauses []pause
}

// pause is a place in a stream's body and the output tokens written since the one before.
type pause struct{ at, tokens int }

// deltaBytes is about what the service puts into one delta.
const deltaBytes = 24

func newStream(dst []byte, r *request, a *answer) *stream {
	st := &stream{body: dst}
	st.event("message_start", func(dst []byte) []byte {
		dst = append(dst, `,"message":`...)
		dst = appendHead(dst, r, a)
		dst = append(dst, `],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"usage":`...)
		begun := a.usage
		begun.output, begun.thinking = min(a.usage.output, 1), 0
		dst = appendUsage(dst, begun)
		return append(dst, '}')
	})
	st.event("ping", nil)
	index := 0
	a.blocks(func(b block) {
		st.block(index, b)
		index++
	})
	st.event("message_delta", func(dst []byte) []byte {
		dst = append(dst, `,"delta":{`...)
		dst = appendStop(dst, a)
		dst = append(dst, `},"usage":`...)
		return appendUsage(dst, a.usage)
	})
	st.event("message_stop", nil)
	return st
}

// event appends one event; rest writes the members after type.
func (st *stream) event(name string, rest func(dst []byte) []byte) {
	st.body = append(st.body, "event: "...)
	st.body = append(st.body, name...)
	st.body = append(st.body, "\ndata: {\"type\":\""...)
	st.body = append(st.body, name...)
	st.body = append(st.body, '"')
	if rest != nil {
		st.body = rest(st.body)
	}
	st.body = append(st.body, "}\n\n"...)
}

func (st *stream) block(index int, b block) {
	indexed := func(dst []byte) []byte {
		dst = append(dst, `,"index":`...)
		return strconv.AppendInt(dst, int64(index), 10)
	}
	delta := func(kind, member, text string) {
		st.event("content_block_delta", func(dst []byte) []byte {
			dst = indexed(dst)
			dst = append(dst, `,"delta":{"type":"`...)
			dst = append(dst, kind...)
			dst = append(dst, `","`...)
			dst = append(dst, member...)
			dst = append(dst, `":`...)
			dst = gjson.AppendJSONString(dst, text)
			return append(dst, '}')
		})
	}
	st.event("content_block_start", func(dst []byte) []byte {
		dst = append(indexed(dst), `,"content_block":`...)
		return b.appendStart(dst)
	})
	kind, member := "text_delta", "text"
	switch b.kind {
	case "thinking":
		kind, member = "thinking_delta", "thinking"
	case "tool_use":
		kind, member = "input_json_delta", "partial_json"
		delta(kind, member, "") // the service opens a tool's input with an empty piece
	}
	// Short texts come in two pieces, so that nobody can rely on one.
	size := min(deltaBytes, max(1, (len(b.text)+1)/2))
	for rest := b.text; rest != ""; {
		piece := cut(rest, size)
		if piece == "" {
			piece = cut(rest, size+utf8.UTFMax)
		}
		rest = rest[len(piece):]
		delta(kind, member, piece)
		st.pauses = append(st.pauses, pause{len(st.body), tokensOf(len(piece))})
	}
	if b.kind == "thinking" {
		delta("signature_delta", "signature", signature)
	}
	st.event("content_block_stop", indexed)
}
