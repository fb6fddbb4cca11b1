package jobs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// place is where something in a job stands: in the job file, or on the command line.
type place struct {
	file string
	// line and column are 1-based, the column counted in characters; 0 means the file as a whole.
	line, column int
	// flag is set instead for what the command line gave: "--set limits.concurrency".
	flag string
}

// String gives "job.yaml:12:7", "job.yaml", "--set request.model", or nothing for a job without a file as a whole.
func (p place) String() string {
	switch {
	case p.flag != "":
		return p.flag
	case p.line == 0:
		return p.file
	default:
		return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column)
	}
}

// problem is one thing that is wrong with a job.
type problem struct {
	at   place
	text string
	// placed is set when the text itself begins with the place.
	placed bool
}

// line is what a person reads.
func (p problem) line() string {
	if at := p.at.String(); at != "" && !p.placed {
		return at + ": " + p.text
	}
	return p.text
}

// problems gathers everything that is wrong, so that a person mends a job file in one go.
type problems []problem

func (ps *problems) add(at place, format string, args ...any) {
	*ps = append(*ps, problem{at: at, text: fmt.Sprintf(format, args...)})
}

// err is nil when nothing is wrong, else one error with a line for each problem: the command line's first, then the
// file's from top to bottom.
func (ps *problems) err() error {
	if len(*ps) == 0 {
		return nil
	}
	sorted := slices.Clone(*ps)
	slices.SortStableFunc(sorted, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
	})
	lines := make([]string, len(sorted))
	for i, p := range sorted {
		lines[i] = p.line()
	}
	return errors.New(strings.Join(lines, "\n"))
}
