package main

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// The fleet's Redis is found by flag, variable or file, and what is wrong ends with the exit code for its kind and without
// a secret in the message.
func TestRedisFlags(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{Password: "hunter2"})
	evicting := redistest.StartServer(t, redistest.Options{MaxMemory: "100mb", Policy: "allkeys-lru"})
	secured := redistest.StartServer(t, redistest.Options{TLS: true, TLSClients: true})
	dead := redistest.StartServer(t, redistest.Options{})
	dead.Kill()
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	addressFile, emptyFile := file("redis", server.URL+"\n"), file("empty", "\n")
	secretFile := file("secret", "0123456789abcdef\n")
	wrong, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword("", "hunter22")
	const encrypted = "an encryption key"
	tests := []struct {
		name   string
		args   []string
		env    map[string]string
		cipher string // fingerprint
		code   int
		want   string // words of the error
	}{
		{name: "flag", args: []string{"--redis", server.URL}},
		{name: "variable", env: map[string]string{"BATCHWRIGHT_REDIS": server.URL}},
		{name: "file", env: map[string]string{"BATCHWRIGHT_REDIS_FILE": addressFile}},
		{name: "flag before variable", args: []string{"--redis", server.URL}, env: map[string]string{"BATCHWRIGHT_REDIS": dead.URL}},
		{name: "variable before file", env: map[string]string{"BATCHWRIGHT_REDIS": server.URL, "BATCHWRIGHT_REDIS_FILE": "/nowhere"}},
		{name: "certificates", args: []string{
			"--redis", secured.URL, "--redis-ca", secured.CAFile, "--redis-cert", secured.CertFile, "--redis-key", secured.KeyFile,
		}},
		{
			name: "encryption", args: []string{"--redis", server.URL, "--encrypt-env", "KEY"}, env: map[string]string{"KEY": "0123456789abcdef"},
			cipher: encrypted,
		},
		{
			name: "encryption by file", args: []string{"--redis", server.URL, "--encrypt-env", "KEY"}, env: map[string]string{"KEY_FILE": secretFile},
			cipher: encrypted,
		},

		{name: "none", code: exitUsage, want: "set BATCHWRIGHT_REDIS"},
		{name: "no such file", env: map[string]string{"BATCHWRIGHT_REDIS_FILE": "/nowhere"}, code: exitUsage, want: "/nowhere"},
		{name: "empty file", env: map[string]string{"BATCHWRIGHT_REDIS_FILE": emptyFile}, code: exitUsage, want: "it is empty"},
		{name: "wrong address", args: []string{"--redis", "redis://:hunter2@h:x"}, code: exitUsage, want: "a port is a number"},
		{name: "evicts", args: []string{"--redis", evicting.URL}, code: exitUsage, want: "noeviction"},
		{name: "dead", args: []string{"--redis", dead.URL}, code: exitFailed, want: "connection refused"},
		{name: "wrong password", args: []string{"--redis", wrong.String()}, code: exitUsage, want: "user or password"},
		{
			name: "secret too short", args: []string{"--redis", server.URL, "--encrypt-env", "KEY"}, env: map[string]string{"KEY": "hunter2"},
			code: exitUsage, want: "7 bytes",
		},
		{name: "secret in place of its variable", args: []string{"--encrypt-env", "hunter2"}, code: exitUsage, want: "--encrypt-env names a variable"},
		{name: "no such variable", args: []string{"--encrypt-env", "NOPE"}, code: exitUsage, want: "--encrypt-env NOPE: that variable is not set"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var f redisFlags
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			f.add(flags)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			env := func(name string) string { return test.env[name] }
			rdb, cipher, err := f.connect(t.Context(), env, 0)
			if test.want != "" {
				code := exitFailed
				if exit := (*exitError)(nil); errors.As(err, &exit) {
					code = exit.code
				}
				if err == nil || code != test.code || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v (exit %d), want words of %q (exit %d) and no secret", err, code, test.want, test.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer rdb.Close()
			if !f.given(env) {
				t.Error("an address was used that is not given")
			}
			if (cipher.Fingerprint() != "") != (test.cipher != "") {
				t.Errorf("cipher %q, want %q", cipher.Fingerprint(), test.cipher)
			}
			if err := rdb.Ping(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		})
	}
	if none := (&redisFlags{}).given(func(string) string { return "" }); none {
		t.Error("an address is given where there is none")
	}
}

// No default in the help shows the address, which may have a password.
func TestRedisFlagsHelp(t *testing.T) {
	t.Setenv("BATCHWRIGHT_REDIS", "redis://:hunter2@h")
	var f redisFlags
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.add(flags)
	if text := flags.FlagUsages(); strings.Contains(text, "hunter2") || !strings.Contains(text, "BATCHWRIGHT_REDIS") {
		t.Errorf("help:\n%s", text)
	}
}
