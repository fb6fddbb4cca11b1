package jobs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Any bytes are a job or an error that says something, the same each time, and a request that comes out of them is
// what went in: valid JSON in NewTemplate's hands.
func FuzzJobFile(f *testing.F) {
	full, err := os.ReadFile(filepath.Join("testdata", "jobfile_full.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full, "limits.concurrency=3")
	for _, seed := range []string{
		"input: a\noutput: b.jsonl" + testRequest,
		"a: &a [1, *a]\nb: {<<: *a}\n? c\n: |\n  ${x}\n",
		"vars: {a: 1}\ninput: ${a}\nname: \"$${a}\"",
		"request: {a: !!str 1, b: 0x1F, c: .inf, d: -01.e5}",
		"\ufeffx:\r\n  - - 'a'\n", "---\n...\n%", "{{.x}}", "limits: [", "a: \"\\ud800\"",
	} {
		f.Add([]byte(seed), "request.messages.0=[1, {a: b}]")
	}
	f.Fuzz(func(t *testing.T, src []byte, set string) {
		if len(src) > maxJobFile {
			t.Skip()
		}
		options := Options{Vars: map[string]string{"date": "x: [y"}, Set: []string{set}}
		job, err := parseJob("job.yaml", src, options)
		if (job == nil) == (err == nil) {
			t.Fatalf("job %v with error %v", job, err)
		}
		if err != nil && err.Error() == "" {
			t.Fatal("an error without a word")
		}
		again, errAgain := parseJob("job.yaml", src, options)
		if diff := cmp.Diff(job, again, withoutCompiled); diff != "" {
			t.Fatalf("the same file gave another job:\n%s", diff)
		}
		if err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("the same file gave two errors:\n%v\n%v", err, errAgain)
		}
	})
}
