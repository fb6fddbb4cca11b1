package simulator

import (
	"strconv"

	"github.com/tidwall/gjson"
)

// appendMessage writes a Message as one JSON document (messages API, section Response).
func appendMessage(dst []byte, r *request, a *answer) []byte {
	dst = appendHead(dst, r, a)
	n := 0
	a.blocks(func(b block) {
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		dst = b.appendFull(dst)
	})
	dst = append(dst, `],`...)
	dst = appendStop(dst, a)
	dst = append(dst, `,"usage":`...)
	dst = appendUsage(dst, a.usage)
	return append(dst, '}')
}

// appendHead writes a Message up to the inside of its content.
func appendHead(dst []byte, r *request, a *answer) []byte {
	dst = append(dst, `{"id":"`...)
	dst = append(dst, a.id...)
	dst = append(dst, `","type":"message","role":"assistant","model":`...)
	dst = append(dst, r.model.Raw...)
	return append(dst, `,"content":[`...)
}

func appendStop(dst []byte, a *answer) []byte {
	dst = append(dst, `"stop_reason":"`...)
	dst = append(dst, a.stop...)
	dst = append(dst, `","stop_sequence":null,"stop_details":`...)
	if a.stop == stopRefusal {
		dst = append(dst, `{"type":"refusal","category":"general_harms","explanation":"Simulated refusal."}`...)
	} else {
		dst = append(dst, "null"...)
	}
	return append(dst, `,"container":null`...)
}

func appendUsage(dst []byte, u usage) []byte {
	number := func(name string, n int) {
		dst = append(dst, name...)
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	number(`{"input_tokens":`, u.input)
	number(`,"cache_creation_input_tokens":`, u.cacheWrite5m+u.cacheWrite1h)
	number(`,"cache_read_input_tokens":`, u.cacheRead)
	number(`,"cache_creation":{"ephemeral_5m_input_tokens":`, u.cacheWrite5m)
	number(`,"ephemeral_1h_input_tokens":`, u.cacheWrite1h)
	number(`},"output_tokens":`, u.output)
	number(`,"output_tokens_details":{"thinking_tokens":`, u.thinking)
	return append(dst, `},"server_tool_use":null,"service_tier":"standard"}`...)
}

// block is one content block of an answer.
type block struct {
	kind string
	// text is that of a text or thinking block, or the JSON of a tool's input.
	text     string
	name, id string
}

// signature stands for the proof that the service adds to its thinking; the simulator's proves nothing.
const signature = "c2ltdWxhdGVk"

// blocks calls yield for each content block in order.
func (a *answer) blocks(yield func(block)) {
	if a.thinking != "" {
		yield(block{kind: "thinking", text: a.thinking})
	}
	switch {
	case a.tool != "":
		yield(block{kind: "tool_use", text: string(a.input), name: a.tool, id: "toolu_" + a.id[len("msg_"):]})
	case a.text != "":
		yield(block{kind: "text", text: a.text})
	}
}

func (b block) appendFull(dst []byte) []byte {
	switch b.kind {
	case "thinking":
		dst = append(dst, `{"type":"thinking","thinking":`...)
		dst = gjson.AppendJSONString(dst, b.text)
		return append(dst, `,"signature":"`+signature+`"}`...)
	case "tool_use":
		return b.appendTool(dst, b.text)
	}
	dst = append(dst, `{"type":"text","text":`...)
	dst = gjson.AppendJSONString(dst, b.text)
	return append(dst, `,"citations":null}`...)
}

func (b block) appendTool(dst []byte, input string) []byte {
	dst = append(dst, `{"type":"tool_use","id":"`...)
	dst = append(dst, b.id...)
	dst = append(dst, `","name":`...)
	dst = gjson.AppendJSONString(dst, b.name)
	dst = append(dst, `,"input":`...)
	dst = append(dst, input...)
	return append(dst, '}')
}

// appendStart writes the block as content_block_start has it: without its text.
func (b block) appendStart(dst []byte) []byte {
	switch b.kind {
	case "thinking":
		return append(dst, `{"type":"thinking","thinking":"","signature":""}`...)
	case "tool_use":
		return b.appendTool(dst, "{}")
	}
	return append(dst, `{"type":"text","text":"","citations":null}`...)
}
