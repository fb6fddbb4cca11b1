package simulator

import (
	"encoding/binary"
	"encoding/hex"
	"unicode/utf8"

	"github.com/batchwright/batchwright/jobs"
)

// answer is a message before it is written down as JSON or as events.
type answer struct {
	id       string
	thinking string
	// text is the text block's; with tool set there is none.
	text string
	tool string
	// input is the JSON of the tool's input.
	input []byte
	stop  string
	usage usage
}

const (
	stopEnd       = "end_turn"
	stopMaxTokens = "max_tokens"
	stopRefusal   = "refusal"
	stopTool      = "tool_use"
)

// Plain answers vary around their median: one in twenty is over 2.7 times as long.
const answerSigma = 0.6

// compose makes the answer to a request. All of it comes from the digest of the body, so that the same body gets the
// same answer from every simulator.
func (s *Simulator) compose(r *request, digest jobs.Digest) *answer {
	content := draw(binary.LittleEndian.Uint64(digest[:8]))
	traits := draw(binary.LittleEndian.Uint64(digest[8:]))
	a := &answer{id: "msg_sim" + hex.EncodeToString(digest[:10]), stop: stopEnd}
	refused, truncated := traits.hits(s.options.Refuse), traits.hits(s.options.Truncate)
	switch {
	case refused:
		a.stop = stopRefusal
		return a
	case r.maxTokens == 0: // a request that only fills the cache
		a.stop = stopMaxTokens
		return a
	}
	left := r.maxTokens
	if r.thinking {
		a.thinking = plainText(min(40, left/2+1), &content)
		a.usage.thinking = min(left, tokensOf(len(a.thinking)))
		left -= a.usage.thinking
	}
	if r.tools != nil {
		picked := r.tools[content.below(len(r.tools))]
		a.tool, a.stop = picked.name, stopTool
		a.input = instanceOf(nil, picked.input, r.said, content)
		a.usage.output = a.usage.thinking + tokensOf(len(a.input))
		if truncated || a.usage.output > r.maxTokens {
			a.input = []byte("{}")
			a.truncated(r.maxTokens)
		}
		return a
	}
	if r.format != nil {
		a.text = string(instanceOf(nil, r.format, r.said, content))
	} else {
		median := float64(s.options.AnswerTokens)
		if median == 0 {
			median = 60
		}
		a.text = plainText(max(2, int(min(content.lognormal(median, answerSigma), float64(left)))), &content)
	}
	a.usage.output = a.usage.thinking + tokensOf(len(a.text))
	switch {
	case a.usage.output > r.maxTokens:
		a.text = cut(a.text, left*bytesPerToken)
		a.truncated(r.maxTokens)
	case truncated:
		a.text = cut(a.text, len(a.text)/2)
		a.truncated(r.maxTokens)
	}
	return a
}

// truncated ends the answer at max_tokens. What the text does not account for went into thinking, as in the service.
func (a *answer) truncated(maxTokens int) {
	a.stop = stopMaxTokens
	a.usage.output = maxTokens
	a.usage.thinking = max(0, maxTokens-tokensOf(len(a.text)))
}

func tokensOf(size int) int { return (size + bytesPerToken - 1) / bytesPerToken }

// cut returns the first size bytes of a text, less a rune that they would split.
func cut(text string, size int) string {
	size = min(size, len(text))
	for size > 0 && size < len(text) && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}
