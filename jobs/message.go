package jobs

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
)

// ReadMessage reads what a Message says of itself, in one pass: why it ended, which model gave it and what it
// used (Messages API, response fields stop_reason, model and usage). ok is false for anything that is not a whole
// Message: JSON that is broken or cut, another type, no stop reason. Counts that are missing or negative are 0, and
// cache writes of unnamed lifetime count as 5 minutes'.
func ReadMessage(raw json.RawMessage) (stopReason, model string, usage Usage, ok bool) {
	if !gjson.ValidBytes(raw) {
		return "", "", Usage{}, false
	}
	isMessage := false
	gjson.ParseBytes(raw).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "type":
			isMessage = value.Str == "message"
		case "stop_reason":
			stopReason = value.Str
		case "model":
			model = value.Str
		case "usage":
			usage = readUsage(value)
		}
		return true
	})
	if !isMessage || stopReason == "" {
		return "", "", Usage{}, false
	}
	return stopReason, model, usage, true
}

// readUsage reads the usage object of a Message. The API repeats the sum of all cache writes beside the lifetimes.
func readUsage(object gjson.Result) Usage {
	var u Usage
	var written int64
	object.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "input_tokens":
			u.Input = tokens(value)
		case "output_tokens":
			u.Output = tokens(value)
		case "cache_read_input_tokens":
			u.CacheRead = tokens(value)
		case "cache_creation_input_tokens":
			written = tokens(value)
		case "cache_creation":
			u.CacheWrite5m = tokens(value.Get("ephemeral_5m_input_tokens"))
			u.CacheWrite1h = tokens(value.Get("ephemeral_1h_input_tokens"))
		}
		return true
	})
	if rest := written - u.CacheWrite(); rest > 0 {
		u.CacheWrite5m += rest
	}
	return u
}

// tokens reads a count. More than any answer can have is cut there, so that sums of counts stay sums.
func tokens(value gjson.Result) int64 {
	const most = 1 << 40
	if value.Type != gjson.Number {
		return 0
	}
	return min(max(0, value.Int()), most)
}

// Text joins all text blocks of a Message; citations split one sentence over several blocks, so nothing goes between.
func Text(raw json.RawMessage) string { return joinBlocks(raw, "text", "text") }

// joinBlocks joins the member called field of all content blocks of a type.
func joinBlocks(raw json.RawMessage, blockType, field string) string {
	var first string
	var joined *strings.Builder
	gjson.GetBytes(raw, "content").ForEach(func(_, block gjson.Result) bool {
		if block.Get("type").Str != blockType {
			return true
		}
		text := block.Get(field).Str
		switch {
		case joined != nil:
			joined.WriteString(text)
		case first == "":
			first = text
		default:
			joined = new(strings.Builder)
			joined.WriteString(first)
			joined.WriteString(text)
		}
		return true
	})
	if joined != nil {
		return joined.String()
	}
	return first
}
