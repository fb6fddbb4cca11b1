package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string  `json:"Action"`
	Package    string  `json:"Package"`
	ImportPath string  `json:"ImportPath"`
	Test       string  `json:"Test"`
	Output     string  `json:"Output"`
	Elapsed    float64 `json:"Elapsed"` // seconds
}

// testName identifies a test; Test is empty for what a package prints outside its tests.
type testName struct{ Package, Test string }

// outcome gathers the events of one go test.
type outcome struct {
	w io.Writer
	// err is the first error of writing to w.
	err error
	// pending holds the output of each test that has not passed.
	pending map[testName][]string
	builds  map[string][]string
	skips   map[string][]testName
	passed  int
	failed  []testName
}

// report reads the events of `go test -json` to their end and writes the account of them to w. Lines that are no
// event, which go test prints for some errors of its own, are passed on.
func report(events io.Reader, w io.Writer) error {
	o := &outcome{w: w, pending: map[testName][]string{}, builds: map[string][]string{}, skips: map[string][]testName{}}
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				o.add(e)
			} else {
				o.printf("%s", line)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
	o.conclude()
	return o.err
}

func (o *outcome) add(e event) {
	name := testName{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		o.builds[e.ImportPath] = append(o.builds[e.ImportPath], e.Output)
	case "build-fail":
		o.write(o.builds[e.ImportPath])
		delete(o.builds, e.ImportPath)
	case "output":
		o.pending[name] = append(o.pending[name], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			o.endPackage(e)
		} else {
			o.endTest(e.Action, name)
		}
	}
}

func (o *outcome) endTest(action string, name testName) {
	output := o.pending[name]
	delete(o.pending, name)
	switch action {
	case "pass":
		o.passed++
	case "fail":
		o.failed = append(o.failed, name)
		o.write(output)
	case "skip":
		reason := reasonOf(output)
		o.skips[reason] = append(o.skips[reason], name)
	}
}

func (o *outcome) endPackage(e event) {
	name := testName{Package: e.Package}
	switch e.Action {
	case "fail":
		// A panic, a data race or a timeout ends the process with tests still open: theirs is the output that tells.
		for _, open := range slices.SortedFunc(maps.Keys(o.pending), byName) {
			if open.Package == e.Package && open.Test != "" {
				o.failed = append(o.failed, open)
				o.write(o.pending[open])
				delete(o.pending, open)
			}
		}
		if len(o.failed) == 0 || o.failed[len(o.failed)-1].Package != e.Package {
			o.failed = append(o.failed, name)
		}
		o.write(o.pending[name])
	case "pass":
		o.printf("ok    %s  %.1fs\n", e.Package, e.Elapsed)
	}
	delete(o.pending, name)
}

func (o *outcome) conclude() {
	o.printf("\n%d passed, %d failed, %d skipped\n", o.passed, len(o.failed), o.skipCount())
	for _, name := range o.failed {
		o.printf("FAILED   %s\n", strings.TrimSpace(name.Package+" "+name.Test))
	}
	for _, reason := range slices.Sorted(maps.Keys(o.skips)) {
		o.printf("SKIPPED  %s\n", reason)
		for _, name := range slices.SortedFunc(slices.Values(o.skips[reason]), byName) {
			o.printf("         %s %s\n", name.Package, name.Test)
		}
	}
}

func (o *outcome) skipCount() int {
	n := 0
	for _, names := range o.skips {
		n += len(names)
	}
	return n
}

func (o *outcome) write(lines []string) {
	for _, line := range lines {
		o.printf("%s", line)
	}
}

func (o *outcome) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(o.w, format, args...); err != nil && o.err == nil {
		o.err = fmt.Errorf("write report: %w", err)
	}
}

func byName(a, b testName) int {
	return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Test, b.Test))
}

// location is what testing puts before a logged line: "    store_test.go:12: ".
var location = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// reasonOf finds in a skipped test's output the text that it gave to Skip: the last one logged.
func reasonOf(output []string) string {
	for _, line := range slices.Backward(output) {
		if at := location.FindStringIndex(line); at != nil {
			return strings.TrimSpace(line[at[1]:])
		}
	}
	return "no reason given"
}
