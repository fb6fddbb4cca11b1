package messages_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/worker/messages"
)

// Each way by which a value becomes text must give the placeholder.
func TestSecretHides(t *testing.T) {
	t.Parallel()
	secret := messages.NewSecret(key)
	type open struct{ Secret messages.Secret }
	type closed struct{ secret messages.Secret }
	var logs bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logs, nil))
	logger.Info("secret", slog.Any("value", secret), slog.Any("pointer", &secret), slog.Any("open", open{secret}))
	jsonLogger := slog.New(slog.NewJSONHandler(&logs, nil))
	jsonLogger.Info("secret", slog.Any("value", secret), slog.Any("open", open{secret}))
	marshalled, err := json.Marshal(map[string]any{"a": secret, "b": &secret, "c": open{secret}})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{logs.String(), string(marshalled), secret.String(), secret.GoString(), errors.Join(fmt.Errorf("x: %v", secret)).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c"} {
		for _, value := range []any{secret, &secret, open{secret}, closed{secret}, &closed{secret}, []messages.Secret{secret}, map[string]closed{"a": {secret}}} {
			texts = append(texts, fmt.Sprintf(verb, value))
		}
	}
	for _, text := range texts {
		if strings.Contains(text, key) || strings.Contains(text, fmt.Sprintf("%x", key)) || strings.Contains(text, fmt.Sprintf("%X", key)) {
			t.Errorf("shows the secret: %s", text)
		}
	}
	if secret.Reveal() != key {
		t.Errorf("revealed %q", secret.Reveal())
	}
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty, long := file("good", " from-file\r\n"), file("empty", "\n"), file("long", strings.Repeat("x", 1<<20))
	for _, row := range []struct {
		name, keyEnv string
		env          map[string]string
		want         string
		fault        string
	}{
		{name: "default key", env: map[string]string{"ANTHROPIC_API_KEY": "a", "ANTHROPIC_AUTH_TOKEN": "b"}, want: "a"},
		{name: "default token", env: map[string]string{"ANTHROPIC_AUTH_TOKEN": "b"}, want: "b"},
		{name: "default file", env: map[string]string{"ANTHROPIC_AUTH_TOKEN_FILE": good}, want: "from-file"},
		{name: "named", keyEnv: "MY_KEY", env: map[string]string{"MY_KEY": " c\n", "ANTHROPIC_API_KEY": "a"}, want: "c"},
		{name: "named file", keyEnv: "MY_KEY", env: map[string]string{"MY_KEY_FILE": good}, want: "from-file"},
		{name: "variable before file", keyEnv: "MY_KEY", env: map[string]string{"MY_KEY": "c", "MY_KEY_FILE": good}, want: "c"},
		{name: "blank is unset", env: map[string]string{"ANTHROPIC_API_KEY": " \n", "ANTHROPIC_AUTH_TOKEN": "b"}, want: "b"},
		{name: "none", fault: "no credential: set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or ANTHROPIC_API_KEY_FILE to a file that holds it; --simulate rehearses without a key"},
		{name: "named but unset", keyEnv: "MY_KEY", env: map[string]string{"ANTHROPIC_API_KEY": "a"}, fault: "set MY_KEY, or MY_KEY_FILE"},
		{name: "missing file", keyEnv: "MY_KEY", env: map[string]string{"MY_KEY_FILE": filepath.Join(dir, "none")}, fault: "read credential of MY_KEY_FILE"},
		{name: "empty file", keyEnv: "MY_KEY", env: map[string]string{"MY_KEY_FILE": empty}, fault: "is empty"},
		{name: "wrong file", keyEnv: "MY_KEY", env: map[string]string{"MY_KEY_FILE": long}, fault: "is it the right file?"},
		{name: "newline inside", env: map[string]string{"ANTHROPIC_API_KEY": "hunter\nX-Evil: 2"}, fault: "at byte 7"},
		{name: "delete", env: map[string]string{"ANTHROPIC_API_KEY": "hunter2\x7f2"}, fault: "at byte 8"},
		{name: "not ASCII", env: map[string]string{"ANTHROPIC_API_KEY": "hunter–2"}, fault: "at byte 7"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			secret, err := messages.ReadSecret(func(name string) string { return row.env[name] }, row.keyEnv)
			if secret.Reveal() != row.want {
				t.Errorf("got %q, want %q", secret.Reveal(), row.want)
			}
			switch {
			case row.fault == "" && err != nil:
				t.Error(err)
			case row.fault != "" && (err == nil || !strings.Contains(err.Error(), row.fault)):
				t.Errorf("got error %v, want %q", err, row.fault)
			case err != nil && strings.Contains(err.Error(), "hunter"):
				t.Errorf("the error repeats the credential: %v", err)
			}
			if unset := strings.Contains(row.fault, "set "); unset != errors.Is(err, messages.ErrNoSecret) {
				t.Errorf("is ErrNoSecret: %t for %v", !unset, err)
			}
		})
	}
}
