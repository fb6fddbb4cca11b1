package messages

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxMessageBytes bounds what a verdict repeats of a server's text.
	maxMessageBytes = 300
	// maxScanBytes bounds the text that is looked at to find those bytes.
	maxScanBytes = 4 << 10
	maxWordBytes = 128
)

// credentialShapes match what looks like a credential in a server's or a proxy's text.
var credentialShapes = []*regexp.Regexp{
	regexp.MustCompile(`\b(?:sk|pk|rk|key|token)-[A-Za-z0-9_*.\-]{6,}`),
	regexp.MustCompile(`(?i)\bbearer\s+[A-Za-z0-9._~+/=*\-]{12,}`),
	regexp.MustCompile(`(?i)\b(?:x-api-key|api[_-]key|authorization|password)\b["']?\s*[:=]\s*["']?[^\s"',;}]+`),
	regexp.MustCompile(`\beyJ[A-Za-z0-9_\-]{10,}[A-Za-z0-9_.\-]*`),
	regexp.MustCompile(`//[^/\s@]+@`),
}

// sanitise makes one line of at most 300 bytes of a text that came from outside: printable, valid UTF-8, and
// without anything that looks like a credential or begins like the secret in use.
func sanitise(text string, secret Secret) string {
	return clip(redact(oneLine(cut(text, maxScanBytes)), secret), maxMessageBytes)
}

// sanitiseWord is sanitise for identifiers.
func sanitiseWord(text string, secret Secret) string {
	return cut(sanitise(text, secret), maxWordBytes)
}

func redact(text string, secret Secret) string {
	text = redactSecret(text, secret.Reveal())
	if !strings.ContainsAny(text, "-:= /") && !strings.Contains(text, "eyJ") {
		return text // no shape can match: the request id of each good answer comes this way
	}
	for _, shape := range credentialShapes {
		text = shape.ReplaceAllLiteralString(text, redacted)
	}
	return text
}

// redactSecret hides each run of characters that starts as the secret does: servers repeat keys cut short.
func redactSecret(text, secret string) string {
	if secret == "" {
		return text
	}
	prefix := secret[:min(len(secret), 8)]
	var b strings.Builder
	for {
		i := strings.Index(text, prefix)
		if i < 0 {
			return b.String() + text
		}
		b.WriteString(text[:i])
		b.WriteString(redacted)
		text = text[i:]
		if strings.HasPrefix(text, secret) {
			text = text[len(secret):]
			continue
		}
		end := strings.IndexAny(text[len(prefix):], " \"',;)}")
		if end < 0 {
			return b.String()
		}
		text = text[len(prefix)+end:]
	}
}

// leastHidden is the length in bytes from which a credential is hidden in answers: a shorter one, made up for a
// server that asks for none, may be a word of the answer.
const leastHidden = 16

// hide replaces the credential where a Message repeats it.
func hide(message []byte, secret Secret) []byte {
	text := secret.Reveal()
	if len(text) < leastHidden || !bytes.Contains(message, []byte(text)) {
		return message
	}
	return bytes.ReplaceAll(message, []byte(text), []byte(redacted))
}

// oneLine replaces each run of spaces, newlines and unprintable characters (terminal escapes, text direction
// marks) by one space.
func oneLine(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range text {
		if r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// clip shortens text to at most limit bytes, an ellipsis included.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return cut(text, limit-len("…")) + "…"
}

// cut shortens text to at most limit bytes without splitting a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
