package jobs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const testRequest = `
request:
  model: m
  max_tokens: 100
  messages: [{role: user, content: hi}]
`

// writeJob puts a job file into a folder of its own and returns its path.
func writeJob(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func jsonOf(n *node) string {
	text, _ := n.toJSON()
	return string(text)
}

// withoutCompiled leaves out what other files of the package compile and test.
var withoutCompiled = cmpopts.IgnoreFields(Job{}, "Request", "Answer")

// Every key of a job file reaches its field.
func TestLoadFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "jobfile_full.yaml")
	job, err := Load(path, Options{Vars: map[string]string{"date": "2026-11-22"}})
	if err != nil {
		t.Fatal(err)
	}
	want := &Job{
		Name:   "tickets-2026-11-22",
		Dir:    "testdata",
		Input:  []string{"data/tickets-*.parquet", "data/late-2026-11-22.jsonl"},
		Output: "out/tickets.parquet",
		ID:     "ticket_id",
		Columns: Columns{
			Keep:   []string{"ticket_id"},
			Add:    []AddedColumn{{"stop", ".stop_reason"}, {"raw", ".text"}},
			Prefix: "bw_",
		},
		Limits: Limits{
			Concurrency:           64,
			RequestsPerMinute:     4000,
			InputTokensPerMinute:  2_000_000,
			OutputTokensPerMinute: 400_000,
			Headroom:              Headroom{Default: 0.2},
			Weight:                2.5,
			Budget:                25_500_000_000,
			MaxFailed:             Tolerance{Share: 0.001},
			MaxTime:               5 * time.Hour,
		},
		MaxAttempts: 4,
		API: API{
			BaseURL: "https://gateway.example/anthropic",
			KeyEnv:  "GATEWAY_KEY",
			Version: "2023-06-01",
			Beta:    []string{"files-api-2025-04-14"},
			Stream:  true,
			Timeout: 90 * time.Minute,
		},
		State: "file:///mnt/shared/state",
	}
	if diff := cmp.Diff(want, job, withoutCompiled); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	if got := job.Request.Model(); got != "claude-haiku-4-5-20251001" {
		t.Errorf("model of the request = %q", got)
	}
	if job.Answer == nil {
		t.Error("the answer was not compiled")
	}
}

// What a file leaves out gets the documented defaults; no request means Message Batches input.
func TestLoadDefaults(t *testing.T) {
	t.Parallel()
	path := writeJob(t, "night.yaml", "input: in.jsonl\noutput: out.jsonl\n")
	job, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Job{
		Name: "night", Dir: filepath.Dir(path), Input: []string{"in.jsonl"}, Output: "out.jsonl", MaxAttempts: 8,
		API: API{Version: "2023-06-01", Timeout: 10 * time.Minute},
	}
	if diff := cmp.Diff(want, job, withoutCompiled); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	if job.Request != nil || job.Answer != nil {
		t.Errorf("request %v and answer %v were made of nothing", job.Request, job.Answer)
	}
}

func TestLoadName(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ path, want string }{
		"the file's name":                    {"a/night.v2.yaml", "night.v2"},
		"its folder's when it is job.yaml":   {"night/job.yaml", "night"},
		"its folder's when it is job.yml":    {"night/job.yml", "night"},
		"letters of any script":              {"aufträge/job.yaml", "aufträge"},
		"the file's name without any ending": {"a/night", "night"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), tc.path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("input: a\noutput: b.jsonl\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			job, err := Load(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if job.Name != tc.want {
				t.Errorf("name = %q, want %q", job.Name, tc.want)
			}
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.yaml")
	for name, tc := range map[string]struct{ path, want string }{
		"no such file": {missing, "read job file: "},
		"a folder":     {t.TempDir(), "read job file: "},
		"too large":    {writeJob(t, "big.yaml", strings.Repeat("#", maxJobFile+1)), "use {{file \"NAME\"}}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Load(tc.path, Options{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want %q in it", err, tc.want)
			}
		})
	}
}

// A path on the command line starts from the current folder, a path in the file from the file's folder.
func TestLoadPathsOfFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("jobs/night", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("jobs/night/job.yaml", []byte("input: own.jsonl\noutput: own/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	job, err := Load("jobs/night/job.yaml", Options{
		Input:  []string{"data/*.jsonl", "jobs/night/x.csv", "/abs/y.csv", "s3://bucket/z.csv"},
		Output: "out/",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"../../data/*.jsonl", "x.csv", "/abs/y.csv", "s3://bucket/z.csv"}
	if diff := cmp.Diff(want, job.Input); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
	if job.Output != "../../out/" {
		t.Errorf("output = %q, want ../../out/", job.Output)
	}
	job, err = Load("jobs/night/job.yaml", Options{Set: []string{"input=other.jsonl"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"other.jsonl"}, job.Input); diff != "" {
		t.Errorf("input by --set (-want +got):\n%s", diff)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	job, err := New(Options{
		Input: []string{"reviews.jsonl"}, Output: "out/reviews.done.jsonl.gz", Model: "m", Prompt: "Rate: {{.text}} ${x}",
		System: "Be brief.", Set: []string{"limits.concurrency=8"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Job{
		Name: "reviews.done", Dir: ".", Input: []string{"reviews.jsonl"}, Output: "out/reviews.done.jsonl.gz",
		Limits: Limits{Concurrency: 8}, MaxAttempts: 8,
		API: API{Version: "2023-06-01", Timeout: 10 * time.Minute},
	}
	if diff := cmp.Diff(want, job, withoutCompiled); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	if got := job.Request.MaxTokens(); got != defaultMaxTokens {
		t.Errorf("max_tokens = %d, want %d", got, defaultMaxTokens)
	}
	batches, err := New(Options{Input: []string{"batch.jsonl"}, Output: "s3://bucket/results/?region=eu"})
	if err != nil {
		t.Fatal(err)
	}
	if batches.Request != nil || batches.Name != "results" {
		t.Errorf("Message Batches job: request %v, name %q; want none and results", batches.Request, batches.Name)
	}
}

// Flags become the request that a job file would hold, in the order in which people write one.
func TestFlagsMakeRequest(t *testing.T) {
	t.Parallel()
	root := &node{kind: mapNode}
	var found problems
	applyOverrides(root, Options{
		Model: "m", MaxTokens: 50, System: "s", Prompt: "say \"<{{.x}}>\"\n",
		Set: []string{"request.temperature=0.10", "request.messages.0.role=assistant"},
	}, &found)
	if len(found) > 0 {
		t.Fatal(found.err())
	}
	want := `{"model":"m","max_tokens":50,"system":"s",` +
		`"messages":[{"role":"assistant","content":"say \"<{{.x}}>\"\n"}],"temperature":0.10}`
	if got := jsonOf(root.get("request")); got != want {
		t.Errorf("request\n got %s\nwant %s", got, want)
	}
}
