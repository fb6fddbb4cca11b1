package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// G1 is proved by manifest, input and output alone: with all else of a complete run deleted, its journals above all,
// verify confirms a true output and names the record where another differs.
func TestVerifyByFilesAlone(t *testing.T) {
	t.Parallel()
	for output, format := range map[string]string{"a file": "out.jsonl", "a folder": "out/"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			c := newCommandLine(t)
			c.must(exitManyFailures, "run", "{}/job.yaml", "--set", "output="+format, "--quiet")
			deleteAllBut(t, filepath.Join(c.dir, ".batchwright", "tickets.simulated"), "manifest.json")
			// export has nothing but the journals to go by.
			_, _, _ = c.run("export", "{}/job.yaml", "-o", "{}/again.jsonl")
			if answers, err := os.ReadFile(filepath.Join(c.dir, "again.jsonl")); err == nil && len(answers) > 0 {
				t.Errorf("answers are still in the state: %s", answers)
			}
			stdout, _ := c.must(exitComplete, "verify", "{}/job.yaml", "--set", "output="+format)
			holds(t, stdout, "verified: 4 records, each once and in input order", "3 succeeded, 1 failed")

			paths, err := filepath.Glob(filepath.Join(c.dir, "out*", "*.jsonl"))
			if format == "out.jsonl" {
				paths, err = filepath.Glob(filepath.Join(c.dir, "out*.jsonl"))
			}
			if err != nil || len(paths) != 1 {
				t.Fatalf("files of the output %q, %v", paths, err)
			}
			whole, err := os.ReadFile(paths[0])
			if err != nil {
				t.Fatal(err)
			}
			rows := strings.SplitAfter(string(whole), "\n")
			for name, row := range map[string]struct {
				output string
				want   string
			}{
				"a column changed":   {strings.Replace(string(whole), `"text":"four"`, `"text":"4"`, 1), `:4: record 3 (id d, ` + c.dir + `/in.jsonl:4): column "text" is not as in the input`},
				"a row is missing":   {rows[0] + rows[2] + rows[3], "record 1 (id b, "},
				"a row is twice":     {rows[0] + rows[0] + rows[1] + rows[2] + rows[3], "record 0 (id a, "},
				"rows are swapped":   {rows[1] + rows[0] + rows[2] + rows[3], "record 0 (id a, "},
				"the last is cut":    {string(whole[:len(whole)-20]), "record 3 (id d, "},
				"no end of a record": {strings.Replace(string(whole), `"_status":"succeeded"`, `"_status":"done"`, 1), "record 0 (id a, "},
			} {
				if err := os.WriteFile(paths[0], []byte(row.output), 0o600); err != nil {
					t.Fatal(err)
				}
				stdout, _, code := c.run("verify", "{}/job.yaml", "--set", "output="+format)
				if code != exitFailed || !strings.Contains(stdout, row.want) {
					t.Errorf("%s: exit code %d, want %d and %q in\n%s", name, code, exitFailed, row.want, stdout)
				}
			}
		})
	}
}

// deleteAllBut deletes all in a folder but a file of that name.
func deleteAllBut(t *testing.T, folder, kept string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 2 {
		t.Fatalf("%s holds no more than %v", folder, entries)
	}
	for _, entry := range entries {
		if entry.Name() == kept {
			continue
		}
		if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
}
