package simulator

import (
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// prompt measures what a request sends: its tokens, and the places up to which a cache can know it.
type prompt struct {
	// bytes of text, of which four make a token, and tokens of what is no text.
	bytes, tokens int
	// hash runs over the text when the request has cache_control anywhere, and is nil otherwise.
	hash   *maphash.Hash
	places []place
}

// place is the end of a block: the prefix up to it can be known to the cache.
type place struct {
	key    uint64
	tokens int
	// ttl is how long the cache keeps the prefix; 0 means that the place has no cache_control.
	ttl time.Duration
}

const (
	bytesPerToken = 4
	// imageTokens is what an image of usual size costs: the service charges at most 1,568 or 4,784, by model.
	imageTokens = 1500
	// documentBytesPerToken is for base64: a PDF is far larger than the text in it.
	documentBytesPerToken = 40
	maxBreakpoints        = 4
	maxMessages           = 100_000
)

// input is the number of input tokens; a prompt is never free.
func (p *prompt) input() int { return max(1, (p.bytes+bytesPerToken-1)/bytesPerToken+p.tokens) }

// text counts a text into the prompt.
func (p *prompt) text(s string) {
	p.bytes += len(s)
	if p.hash != nil {
		_, _ = p.hash.WriteString(s) // never fails
		_ = p.hash.WriteByte(0)
	}
}

// end marks the end of a block.
func (p *prompt) end(cacheControl gjson.Result) *problem {
	if p.hash == nil {
		return nil
	}
	here := place{key: p.hash.Sum64(), tokens: p.input()}
	if cacheControl.IsObject() {
		if kind := cacheControl.Get("type").Str; kind != "ephemeral" {
			return invalid("cache_control.type: Input should be 'ephemeral'")
		}
		switch ttl := cacheControl.Get("ttl"); ttl.Str {
		case "1h":
			here.ttl = time.Hour
		case "5m":
			here.ttl = 5 * time.Minute
		default:
			if ttl.Exists() {
				return invalid("cache_control.ttl: Input should be '5m' or '1h'")
			}
			here.ttl = 5 * time.Minute
		}
	}
	p.places = append(p.places, here)
	return nil
}

// promptSeed makes prefixes of one process comparable; nothing else depends on it.
var promptSeed = maphash.MakeSeed()

// readPrompt walks tools, system and messages in the order in which the service caches them.
func (r *request) readPrompt(f fields) *problem {
	p := &r.prompt
	if f.cacheControl.Exists() || marked(f.tools) || marked(f.system) || marked(f.messages) {
		p.hash = new(maphash.Hash)
		p.hash.SetSeed(promptSeed)
		p.text(r.model.Str)
		p.bytes = 0
	}
	if f.outputConfig.Exists() {
		p.text(f.outputConfig.Get("format.schema").Raw)
	}
	for _, t := range f.tools.Array() {
		p.text(t.Raw)
		if bad := p.end(t.Get("cache_control")); bad != nil {
			return bad
		}
	}
	if bad := r.readContent(f.system, "system"); bad != nil {
		return bad
	}
	if bad := r.readMessages(f.messages); bad != nil {
		return bad
	}
	if f.cacheControl.Exists() && len(p.places) > 0 {
		p.places = p.places[:len(p.places)-1] // the same place, now with a breakpoint
		if bad := p.end(f.cacheControl); bad != nil {
			return bad
		}
	}
	breakpoints := 0
	for _, at := range p.places {
		if at.ttl > 0 {
			breakpoints++
		}
	}
	if breakpoints > maxBreakpoints {
		return invalid("A maximum of %d blocks with cache_control may be provided. Found %d.", maxBreakpoints, breakpoints)
	}
	return nil
}

func marked(v gjson.Result) bool { return strings.Contains(v.Raw, `"cache_control"`) }

func (r *request) readMessages(messages gjson.Result) (bad *problem) {
	if !messages.Exists() {
		return invalid("messages: Field required")
	}
	n, role := 0, ""
	messages.ForEach(func(_, m gjson.Result) bool {
		at := n
		n++
		if n > maxMessages {
			bad = invalid("messages: List should have at most %d entries", maxMessages)
			return false
		}
		if !m.IsObject() {
			bad = invalid("messages.%d: Input should be an object", at)
			return false
		}
		var content gjson.Result
		role = ""
		m.ForEach(func(key, v gjson.Result) bool {
			switch key.Str {
			case "role":
				role = v.Str
			case "content":
				content = v
			default:
				bad = invalid("messages.%d.%s: Extra inputs are not permitted", at, key.Str)
			}
			return bad == nil
		})
		switch {
		case bad != nil:
		case role != "user" && role != "assistant" && role != "system":
			bad = invalid("messages.%d.role: Input should be 'user' or 'assistant'", at)
		case !content.Exists():
			bad = invalid("messages.%d.content: Field required", at)
		case content.Type != gjson.String && !content.IsArray():
			bad = invalid("messages.%d.content: Input should be a string or a list of blocks", at)
		default:
			r.prompt.text(role)
			r.prompt.bytes -= len(role)
			if bad = r.readContent(content, "messages"); bad != nil {
				bad.message = strings.Replace(bad.message, "messages", "messages."+strconv.Itoa(at)+".content", 1)
			}
		}
		return bad == nil
	})
	switch {
	case bad != nil:
		return bad
	case n == 0:
		return invalid("messages: at least one message is required")
	case role == "assistant" && !strings.Contains(r.model.Str, "-4-5") && strings.HasPrefix(r.model.Str, "claude"):
		return invalid("This model does not support assistant message prefill. The conversation must end with a user message.")
	}
	return nil
}

// readContent reads the content of system or of a message: a text or a list of blocks.
func (r *request) readContent(content gjson.Result, where string) (bad *problem) {
	if content.Type == gjson.String {
		if content.Str == "" && where == "messages" {
			return invalid("%s: text must not be empty", where)
		}
		r.said = content.Str
		r.prompt.text(content.Str)
		return r.prompt.end(gjson.Result{})
	}
	n := 0
	content.ForEach(func(_, block gjson.Result) bool {
		if bad = r.readBlock(block, where); bad != nil {
			bad.message = where + "." + strconv.Itoa(n) + ": " + bad.message
			return false
		}
		n++
		return true
	})
	return bad
}

func (r *request) readBlock(block gjson.Result, where string) *problem {
	p := &r.prompt
	kind := block.Get("type").Str
	switch {
	case !block.IsObject() || kind == "":
		return invalid("Input should be a block with a type")
	case where == "system" && kind != "text":
		return invalid("Input should be a text block")
	}
	switch kind {
	case "text":
		text := block.Get("text")
		if text.Type != gjson.String || text.Str == "" {
			return invalid("text content blocks must be non-empty")
		}
		r.said = text.Str
		p.text(text.Str)
	case "image", "document":
		if !block.Get("source").IsObject() {
			return invalid("source: Field required")
		}
		before := p.bytes
		p.text(block.Raw)
		p.bytes = before
		if kind == "image" {
			p.tokens += imageTokens
		} else {
			p.tokens += len(block.Raw)/documentBytesPerToken + 1
		}
	case "tool_result":
		if block.Get("tool_use_id").Str == "" {
			return invalid("tool_use_id: Field required")
		}
		p.text(block.Get("content").Raw)
	case "search_result", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "container_upload":
		p.text(block.Raw)
	default:
		if !strings.HasSuffix(kind, "_tool_result") {
			return invalid("type: %q is not a kind of block", kind)
		}
		p.text(block.Raw)
	}
	return p.end(block.Get("cache_control"))
}
