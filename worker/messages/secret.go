package messages

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

const redacted = "[redacted]"

// Secret is a credential that shows itself to nobody who prints, logs or marshals it; Reveal is the only way to
// its text. The zero Secret is empty.
type Secret struct {
	// value is a pointer because fmt calls no methods on an unexported field of somebody else's struct: it
	// prints such a field's memory, which then is an address.
	value *string
}

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the credential itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no credential.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String returns a placeholder.
func (s Secret) String() string { return redacted }

// GoString returns a placeholder.
func (s Secret) GoString() string { return redacted }

// Format writes a placeholder, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns a placeholder; encoding/json and YAML libraries use it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// defaultKeyEnv are the variables that hold the credential when a job names none, in the order they are tried.
var defaultKeyEnv = []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}

// ErrNoSecret says that no credential is set. The error that wraps it names the variables to set.
var ErrNoSecret = errors.New("no credential")

// maxSecretBytes bounds a credential; real ones have about 100 bytes, federated tokens some thousands.
const maxSecretBytes = 16 << 10

// ReadSecret returns the credential that the variable keyEnv holds, or the file that the variable keyEnv_FILE
// names; with keyEnv empty it tries ANTHROPIC_API_KEY and then ANTHROPIC_AUTH_TOKEN. The environment comes in as
// env (os.Getenv). Space and newlines around the credential are dropped. With none set the error wraps ErrNoSecret.
func ReadSecret(env func(string) string, keyEnv string) (Secret, error) {
	names := defaultKeyEnv
	if keyEnv != "" {
		names = []string{keyEnv}
	}
	for _, name := range names {
		if text := strings.TrimSpace(env(name)); text != "" {
			return checkSecret(text, name)
		}
		path := strings.TrimSpace(env(name + "_FILE"))
		if path == "" {
			continue
		}
		text, err := readSecretFile(path)
		if err != nil {
			return Secret{}, fmt.Errorf("read credential of %s_FILE: %w", name, err)
		}
		return checkSecret(text, name+"_FILE")
	}
	return Secret{}, fmt.Errorf("%w: set %s, or %s_FILE to a file that holds it; --simulate rehearses without a key",
		ErrNoSecret, strings.Join(names, " or "), names[0])
}

func readSecretFile(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the person who starts the program chooses the file
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return "", err
	}
	trimmed := strings.TrimSpace(string(text))
	if trimmed == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return trimmed, nil
}

// checkSecret refuses what cannot be the value of an Authorization header. The message gives a place, never a byte.
func checkSecret(text, source string) (Secret, error) {
	if len(text) > maxSecretBytes {
		return Secret{}, fmt.Errorf("credential in %s is over %d bytes: is it the right file?", source, maxSecretBytes)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return Secret{}, fmt.Errorf("credential in %s has a space, control or non-ASCII character at byte %d: "+
				"copy it again", source, i+1)
		}
	}
	return NewSecret(text), nil
}
