package source

import (
	"path/filepath"
	"strings"
)

// LeadsTo returns the first of inputs by which Resolve would find a file at an absolute path if there were one;
// false when none would.
func LeadsTo(dir string, inputs []string, path string) (input string, found bool) {
	for _, input := range inputs {
		pattern := input
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		pattern, err := filepath.Abs(pattern)
		if err != nil {
			continue // Resolve says what is wrong
		}
		format, _ := formatOf(path)
		switch {
		case pattern == path:
			return input, true
		case pattern == filepath.Dir(path) && format != "" && !isHidden(filepath.Base(path)):
			return input, true
		case isGlob(pattern) && matches(split(pattern), split(path)):
			return input, true
		}
	}
	return "", false
}

func split(path string) []string {
	return strings.Split(strings.TrimPrefix(path, string(filepath.Separator)), string(filepath.Separator))
}

// matches reports whether glob would come to the names of a path by the segments of a pattern.
func matches(segments, names []string) bool {
	if len(segments) == 0 || len(names) == 0 {
		return len(segments) == len(names)
	}
	segment := segments[0]
	if segment == anyFolders {
		rest := segments[1:]
		if len(rest) == 0 {
			rest = []string{"*"}
		}
		return matches(rest, names) || len(names) > 1 && !isHidden(names[0]) && matches(segments, names[1:])
	}
	if isHidden(names[0]) && !isHidden(segment) {
		return false
	}
	matched, err := filepath.Match(segment, names[0])
	return err == nil && matched && matches(segments[1:], names[1:])
}
