package source

import (
	"os"
	"path/filepath"
	"testing"
)

// LeadsTo knows of a file that is not there yet what Resolve says once it is there.
func TestLeadsTo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		input, path string
		want        bool
	}{
		"the file itself":               {"a/in.jsonl", "a/in.jsonl", true},
		"another file":                  {"a/in.jsonl", "a/out.jsonl", false},
		"in the folder":                 {"a", "a/out.jsonl", true},
		"in the folder, unknown format": {"a", "a/out.txt", false},
		"in the folder, hidden":         {"a", "a/.out.jsonl", false},
		"in a folder within":            {"a", "a/b/out.jsonl", false},
		"by a glob":                     {"a/*.jsonl", "a/out.jsonl", true},
		"another ending":                {"a/*.jsonl", "a/out.parquet", false},
		"a glob over folders":           {"*/out.jsonl", "a/out.jsonl", true},
		"a glob of other depth":         {"*/*.jsonl", "a/b/out.jsonl", false},
		"any folders":                   {"a/**/*.jsonl", "a/b/c/out.jsonl", true},
		"any folders, none":             {"a/**/*.jsonl", "a/out.jsonl", true},
		"any folders at the end":        {"a/**", "a/b/out.jsonl", true},
		"any folders, hidden":           {"a/**/*.jsonl", "a/.b/out.jsonl", false},
		"a glob, hidden":                {"a/*.jsonl", "a/.out.jsonl", false},
		"by a way round":                {"a/b/../*.jsonl", "a/out.jsonl", true},
		"a class":                       {"a/part-[0-4].jsonl", "a/part-5.jsonl", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{"a/b/in.jsonl": `{"x":1}`, "a/in.jsonl": `{"x":1}`, "a/part-0.jsonl": `{"x":1}`})
			path := filepath.Join(dir, test.path)
			if input, got := LeadsTo(dir, []string{"elsewhere.jsonl", test.input}, path); got != test.want || got && input != test.input {
				t.Errorf("before it is there: %q, %t, want %t", input, got, test.want)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(`{"x":1}`), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := Resolve(dir, []string{test.input})
			if err != nil {
				t.Fatal(err)
			}
			resolved := false
			for i := range found {
				resolved = resolved || found[i].Path == path
			}
			if resolved != test.want {
				t.Errorf("Resolve finds it: %t, want %t", resolved, test.want)
			}
		})
	}
}
