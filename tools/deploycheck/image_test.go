package deploycheck

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// stages parses the Dockerfile as the builder does, and fails the test on what the builder's linter says.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(read(t, root+"/Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", warning.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		t.Errorf("Dockerfile: %s: %s", rule, message)
	}})
	found, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// commandsOf are the commands of one kind in a stage.
func commandsOf[T instructions.Command](stage *instructions.Stage) []T {
	var found []T
	for _, command := range stage.Commands {
		if c, ok := command.(T); ok {
			found = append(found, c)
		}
	}
	return found
}

// The image has nothing in it but the program, certificates and time zones, and does not run as root.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	all := stages(t)
	final := &all[len(all)-1]
	if len(all) < 2 || final.BaseName != "scratch" {
		t.Errorf("the last of %d stages is from %s, want scratch", len(all), final.BaseName)
	}
	users := commandsOf[*instructions.UserCommand](final)
	if len(users) != 1 || users[0].User != "65532:65532" {
		t.Errorf("users %v, want 65532:65532 by number", users)
	}
	entry := commandsOf[*instructions.EntrypointCommand](final)
	if len(entry) != 1 || entry[0].PrependShell || !slices.Equal(entry[0].CmdLine, []string{"/batchwright"}) {
		t.Errorf("entry point %v, want the program itself: a shell would not pass SIGTERM on", entry)
	}
	if runs := commandsOf[*instructions.RunCommand](final); len(runs) > 0 {
		t.Errorf("the last stage runs %v, and has nothing to run it with", runs)
	}
	if ports := commandsOf[*instructions.ExposeCommand](final); len(ports) > 0 {
		t.Errorf("the image exposes %v", ports)
	}
	var labels []string
	for _, label := range commandsOf[*instructions.LabelCommand](final) {
		for _, pair := range label.Labels {
			labels = append(labels, pair.Key)
		}
	}
	for _, want := range []string{"title", "description", "source", "licenses", "version"} {
		if !slices.Contains(labels, "org.opencontainers.image."+want) {
			t.Errorf("the image has no label org.opencontainers.image.%s", want)
		}
	}
}

// What the build stage compiles from the files that reach the builder is a static program with the version it was
// given, and runs a job as the image's user with nothing around it but what the image holds.
func TestImage(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("entering the image's file system needs root")
	}
	all := stages(t)
	build, final := &all[0], &all[len(all)-1]
	source, image := t.TempDir(), t.TempDir()
	copyContext(t, source)
	steps := commandsOf[*instructions.RunCommand](build)
	command := exec.CommandContext(t.Context(), "sh", "-ec", strings.Join(steps[len(steps)-1].CmdLine, " "))
	command.Dir = source
	command.Env = append(os.Environ(), "VERSION=v9.9.9-test", "TARGETOS=linux", "TARGETARCH=", "GOFLAGS=-buildvcs=false")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, step := range commandsOf[*instructions.CopyCommand](final) {
		from := step.SourcePaths[0]
		if in, found := strings.CutPrefix(from, "/src/"); found {
			from = filepath.Join(source, in)
		}
		if in, found := strings.CutPrefix(from, "/usr/local/go/"); found {
			from = filepath.Join(goRoot(t), in)
		}
		copyFile(t, from, filepath.Join(image, step.DestPath))
	}
	assertStatic(t, filepath.Join(image, "batchwright"))
	if strings.Contains(read(t, filepath.Join(image, "batchwright")), source) {
		t.Error("the program holds the path that it was built in: no -trimpath")
	}
	// What a container has beside its image: a folder for temporary files and the job's.
	for folder, mode := range map[string]fs.FileMode{"tmp": 0o777, "job": 0o777} {
		if err := os.Mkdir(filepath.Join(image, folder), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(image, folder), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"job.yaml", "system.md", "messages.jsonl"} {
		copyFile(t, root+"/examples/classify/"+name, filepath.Join(image, "job", name))
	}
	inImage := func(args ...string) string {
		t.Helper()
		entry := commandsOf[*instructions.EntrypointCommand](final)[0].CmdLine[0]
		uid, err := strconv.Atoi(strings.Split(commandsOf[*instructions.UserCommand](final)[0].User, ":")[0])
		if err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), entry, args...)
		command.Dir = "/"
		for _, env := range commandsOf[*instructions.EnvCommand](final) {
			for _, pair := range env.Env {
				command.Env = append(command.Env, pair.Key+"="+pair.Value)
			}
		}
		user := &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: image, Credential: user}
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if version := inImage("--version"); !strings.Contains(version, "v9.9.9-test") {
		t.Errorf("--version says %q", version)
	}
	inImage("run", "/job/job.yaml", "--simulate", "--quiet")
	rows := bytes.Count([]byte(read(t, filepath.Join(image, "job/out/labels.simulated.jsonl"))), []byte("\n"))
	if records := bytes.Count([]byte(read(t, root+"/examples/classify/messages.jsonl")), []byte("\n")); rows != records {
		t.Errorf("%d records came out of the image, %d went in", rows, records)
	}
}

// Nothing private reaches the builder: neither keys nor state, output or history.
func TestBuildContext(t *testing.T) {
	t.Parallel()
	matcher := ignored(t)
	for _, path := range []string{
		"secrets/api_key", "secrets/redis_url", ".git/config", ".env", "bin/batchwright", "examples/classify/out/labels.jsonl",
		"examples/classify/.batchwright/classify/manifest.json", "jobs/.batchwright/x/manifest.json", "id_rsa", "out.jsonl",
	} {
		if private, err := matcher.MatchesOrParentMatches(path); err != nil || !private {
			t.Errorf("%s reaches the builder (%v)", path, err)
		}
	}
}

func ignored(t *testing.T) *patternmatcher.PatternMatcher {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, root+"/.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return matcher
}

// copyContext copies to a folder what of the project reaches the builder.
func copyContext(t *testing.T, to string) {
	t.Helper()
	matcher := ignored(t)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name == ".git" || name == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		private, err := matcher.MatchesOrParentMatches(name)
		if err == nil && !private && entry.Type().IsRegular() {
			copyFile(t, path, filepath.Join(to, name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	about, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(from, "ca-certificates.crt") {
		return // this machine keeps its certificates elsewhere
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(read(t, from)), about.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}

func goRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// assertStatic fails the test when a program needs a dynamic linker, which an empty image has not.
func assertStatic(t *testing.T, path string) {
	t.Helper()
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("%s is not static", path)
	}
}
