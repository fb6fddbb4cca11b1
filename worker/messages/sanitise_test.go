package messages

import (
	"strings"
	"testing"
)

func TestSanitise(t *testing.T) {
	t.Parallel()
	const secret = "tok_0123456789abcdef"
	for _, row := range []struct{ name, text, want string }{
		{"plain", "slow down", "slow down"},
		{"lines and terminal codes", " a\r\n\tb\x00\x1b[31mc ", "a b [31mc"},
		{"text direction", "a\u202eb\u200bc", "a b c"},
		{"invalid UTF-8", "a\xffb", "a b"},
		{"other scripts", "请求过于频繁 é", "请求过于频繁 é"},
		{"the secret", "bad key " + secret + ", twice " + secret + secret, "bad key [redacted], twice [redacted][redacted]"},
		{"the secret cut short", "bad key tok_0123...cdef, sorry", "bad key [redacted], sorry"},
		{"another key", "bad key sk-ant-api03-xyz_123*** used", "bad key [redacted] used"},
		{"bearer", "got Authorization: Bearer abcdefghijklmnop.q", "got [redacted]"},
		{"bearer as a word", "Bearer token needed", "Bearer token needed"},
		{"named", `{"x-api-key": "abc", "n": 1}`, `{"[redacted]", "n": 1}`},
		{"JWT", "t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln end", "t=[redacted] end"},
		{"URL", "invalid proxy address \"http://me:pw@proxy.test:1\"", "invalid proxy address \"http:[redacted]proxy.test:1\""},
		{"long", strings.Repeat("é", 400), strings.Repeat("é", 148) + "…"},
		{"empty", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := sanitise(row.text, NewSecret(secret))
			if got != row.want || len(got) > maxMessageBytes {
				t.Errorf("got %q of %d bytes, want %q", got, len(got), row.want)
			}
		})
	}
}
