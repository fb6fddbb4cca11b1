package simulator

import (
	"strings"

	"github.com/tidwall/gjson"
)

// models are what GET /v1/models lists: the names that are current in November 2026.
var models = []string{
	"claude-fable-5-2", "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-sonnet-5", "claude-opus-5",
	"claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-sonnet-4-6",
	"claude-haiku-4-5-20251001", "claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929",
}

// maxOutput is the most tokens that a model writes (messages API, section Ids, context, output).
func maxOutput(model string) int {
	if strings.Contains(model, "-4-5") {
		return 64_000
	}
	return 128_000
}

// minCached is the shortest prefix, in tokens, that a model caches; a shorter one is silently not cached (messages API,
// section Limits).
func minCached(model string) int {
	for _, known := range []struct {
		part   string
		tokens int
	}{
		{"opus-4-8", 1024},
		{"opus-4-7", 2048},
		{"opus-4-6", 4096},
		{"opus-4-5", 4096},
		{"haiku-4-5", 4096},
		{"haiku-5-5", 512},
		{"opus-5", 512},
		{"fable-5", 512},
	} {
		if strings.Contains(model, known.part) {
			return known.tokens
		}
	}
	return 1024
}

func appendModel(dst []byte, name string) []byte {
	dst = append(dst, `{"type":"model","id":`...)
	dst = gjson.AppendJSONString(dst, name)
	dst = append(dst, `,"display_name":`...)
	dst = gjson.AppendJSONString(dst, name+" (simulated)")
	return append(dst, `,"created_at":"2026-11-01T00:00:00Z","lifecycle":"active"}`...)
}

func appendModels(dst []byte) []byte {
	dst = append(dst, `{"data":[`...)
	for i, name := range models {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendModel(dst, name)
	}
	return append(dst, `],"has_more":false,"first_id":"`+models[0]+`","last_id":"`+models[len(models)-1]+`"}`...)
}
