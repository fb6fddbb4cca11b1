package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// world is where the worker runs: folders of its own, deep enough that a run's id could lead out of the innermost,
// and a file that somebody might have it read.
type world struct{ root, home, dir, temp, bait, control string }

func newWorld(t *testing.T) *world {
	t.Helper()
	root := t.TempDir()
	w := &world{root, filepath.Join(root, "home"), filepath.Join(root, "a", "b", "c"), filepath.Join(root, "tmp"), filepath.Join(root, "bait"), filepath.Join(root, "control")}
	for _, folder := range []string{w.home, w.dir, w.temp} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(w.bait, []byte("bait"), 0o600), os.WriteFile(w.control, nil, 0o600),
		os.Chmod(w.dir, 0o500), os.Chmod(w.home, 0o500)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) folders() []string {
	return []string{w.root, filepath.Join(w.root, "a"), filepath.Join(w.root, "a", "b"), w.dir, w.home, w.temp}
}

// tree lists all files and folders.
func (w *world) tree(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(w.root, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// startWorker starts a worker with nothing of this process's environment.
func (w *world) startWorker(t *testing.T, redisURL, baseURL, key string) *workerProcess {
	t.Helper()
	path, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := &workerProcess{command: exec.CommandContext(t.Context(), path, "worker", "--base-url", baseURL), ended: make(chan struct{})}
	p.command.Dir, p.command.Stdout, p.command.Stderr = w.dir, &p.log, &p.log
	p.command.Env = []string{"HOME=" + w.home, "TMPDIR=" + w.temp, "ANTHROPIC_API_KEY=" + key, "BATCHWRIGHT_REDIS=" + redisURL}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.command.Wait() // it is killed
	}()
	return p
}

// workerProcess is a worker and what it has said.
type workerProcess struct {
	command *exec.Cmd
	log     bytes.Buffer  // to be read when it has ended
	ended   chan struct{} // closed
}

// end ends the worker, if it still lives, and returns what it has said.
func (p *workerProcess) end() string {
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
	return p.log.String()
}

// watchFolders notes what anybody opens, reads, writes, makes or removes in folders. What it returns opens a file in one
// of them, which must have been noted, and lists the rest.
func watchFolders(t *testing.T, folders []string) func(control string) []string {
	t.Helper()
	watch, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(watch) })
	for _, folder := range folders {
		const all = syscall.IN_OPEN | syscall.IN_ACCESS | syscall.IN_MODIFY | syscall.IN_ATTRIB | syscall.IN_CREATE | syscall.IN_DELETE | syscall.IN_MOVE
		if _, err := syscall.InotifyAddWatch(watch, folder, all); err != nil {
			t.Fatal(err)
		}
	}
	return func(control string) []string {
		t.Helper()
		if _, err := os.ReadFile(control); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 1<<20)
		n, err := syscall.Read(watch, buffer)
		var names []string
		for rest := buffer[:max(n, 0)]; len(rest) > 0; {
			size := syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:])) // of the event and of the name after it
			names = append(names, strings.TrimRight(string(rest[syscall.SizeofInotifyEvent:size]), "\x00"))
			rest = rest[size:]
		}
		others := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == filepath.Base(control) })
		if len(others) == len(names) {
			t.Fatalf("what the test itself opened was not noted, but %q, %v", names, err)
		}
		return others
	}
}
