package chaos

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/worker/simulator"
)

// G8: after a run through faults no credential is in Redis' files, the state, a log, an error or the output; no prompt
// or answer is in a log; and with encryption no prompt is in Redis' files.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const prompt, passphrase = "Zq7wKd93xVbPmTr5", "correct-horse-battery-staple-9"
	cases := []struct {
		name string
		args []string
		env  []string
		// open says that prompts can be read in Redis' files: there the search must find one, or it proves nothing.
		open bool
	}{
		{"plain", nil, nil, true},
		{"encrypted", []string{"--encrypt-env", "CHAOS_PASSPHRASE"}, []string{"CHAOS_PASSPHRASE=" + passphrase}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const records = 600
			f := startFleet(t, setup{
				records: records, staff: 2, slots: 8, prompt: prompt, args: c.args, env: c.env,
				options: simulator.Options{
					Latency: 20 * time.Millisecond, Deterministic: simulator.Faults{{Kind: "400", Share: 0.01}},
					Errors: simulator.Faults{{Kind: "500", Share: 0.01}, {Kind: "error200", Share: 0.01}},
				},
			})
			until(t, "a third of the answers", func() bool { return f.api.answered() > records/3 })
			f.workers[0].process.kill()
			f.workers[1].link.set(linkReset)
			f.coordinator.process.kill()
			f.workers[1].link.set(linkUp)
			f.start(f.workers[0])
			f.start(f.coordinator)
			code := f.ended(f.coordinator)
			if code != exitManyFailures { // one in a hundred prompts is refused, and nothing else fails
				t.Fatalf("the coordinator ended with exit code %d", code)
			}
			f.complete(code)
			f.batchwright("show", filepath.Join(f.dir, "job.yaml"), "--failed")
			// It shows prompts because it is asked to: no log, and searched for the credential alone.
			shown := filepath.Join(f.logs, "show.command.log")
			if err := os.Rename(shown, filepath.Join(f.dir, "shown")); err != nil {
				t.Fatal(err)
			}
			dump := f.persisted()

			everywhere := slices.Concat(contents(t, f.dir), contents(t, f.logs), dump)
			never := []string{secret, passphrase}
			for _, found := range search(everywhere, never) {
				t.Errorf("a secret is in %s", found)
			}
			private := append(answersIn(t, filepath.Join(f.dir, "out.jsonl")), prompt)
			logs := append(contents(t, f.logs), contents(t, f.dir, "summary.json")...)
			if len(logs) < 4 {
				t.Errorf("only %d logs to search", len(logs))
			}
			for _, found := range search(logs, private) {
				t.Errorf("a prompt or an answer is in %s", found)
			}
			if in := search(dump, []string{prompt}); (len(in) > 0) != c.open {
				t.Errorf("Redis' files with a prompt in them: %q", in)
			}
		})
	}
}

// persisted are the files in which Redis keeps what it holds: an append-only file with every command since it
// started, and a snapshot of now.
func (f *fleet) persisted() []file {
	f.t.Helper()
	f.redis.Save()
	config, err := f.redis.Client.ConfigGet(f.t.Context(), "dir").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	files := contents(f.t, config["dir"])
	if len(files) < 2 {
		f.t.Fatalf("Redis keeps %d files: neither append-only file nor snapshot", len(files))
	}
	return files
}

// file is one to be searched.
type file struct {
	path    string
	content []byte
}

// contents reads all files below a folder, those with certain endings when there are any, decompressed.
func contents(t *testing.T, dir string, endings ...string) []file {
	t.Helper()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	var files []file
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		wanted := len(endings) == 0
		for _, ending := range endings {
			wanted = wanted || strings.HasSuffix(path, ending)
		}
		if err != nil || entry.IsDir() || !wanted {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".zst") {
			content, err = decoder.DecodeAll(content, nil)
		}
		files = append(files, file{path, content})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// search names the files in which one of the texts is.
func search(files []file, texts []string) []string {
	var found []string
	for _, f := range files {
		for _, text := range texts {
			if bytes.Contains(f.content, []byte(text)) {
				found = append(found, f.path)
				break
			}
		}
	}
	return found
}

// answersIn are the texts of the answers in an output.
func answersIn(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for line := range strings.Lines(string(content)) {
		var row struct {
			Response string `json:"response"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if len(row.Response) > 20 {
			answers = append(answers, row.Response)
		}
	}
	if len(answers) == 0 {
		t.Fatal("no answer to search for")
	}
	return answers
}
