package messages

import (
	"strings"
)

// longestClass bounds the name of a class of models that nobody knows.
const longestClass = 64

// ModelClass names the models that share rate limits with a model: its family and version (API documentation, "Rate
// limits"). All Opus 4.x share one limit, and so do all Sonnet 4.x. A name that is no Claude model's is a class of its own.
func ModelClass(model string) string {
	words := strings.FieldsFunc(strings.ToLower(model), func(r rune) bool { return strings.ContainsRune("-_.@:/", r) })
	for i, word := range words {
		switch word {
		case "opus", "sonnet", "haiku", "fable":
			version := versionOf(words[i+1:])
			if version == nil && i > 0 { // claude-3-5-sonnet-20241022
				from := i
				for from > 0 && isVersion(words[from-1]) {
					from--
				}
				version = words[from:i]
			}
			if len(version) > 1 && version[0] == "4" && (word == "opus" || word == "sonnet") {
				version = version[:1]
			}
			return strings.Join(append([]string{word}, version...), "-")
		}
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("{}", r) {
			return '_'
		}
		return r
	}, model[:min(len(model), longestClass)])
}

// versionOf is the version at the start of words: a number or two. A date is none.
func versionOf(words []string) []string {
	n := 0
	for n < len(words) && n < 2 && isVersion(words[n]) {
		n++
	}
	if n == 0 {
		return nil
	}
	return words[:n:n]
}

func isVersion(word string) bool {
	return len(word) <= 2 && word != "" && strings.Trim(word, "0123456789") == ""
}
