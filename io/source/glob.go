package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const anyFolders = "**"

func isGlob(path string) bool { return strings.ContainsAny(path, `*?[\`) }

// glob returns the files that match an absolute pattern, sorted by path. Unlike filepath.Glob it knows **, passes
// over hidden names, and does not take a folder that it may not read for an empty one.
func glob(pattern string) ([]string, error) {
	segments := strings.Split(strings.TrimPrefix(pattern, string(filepath.Separator)), string(filepath.Separator))
	for _, segment := range segments {
		if _, err := filepath.Match(segment, ""); err != nil {
			return nil, fmt.Errorf("the pattern %q is wrong: %w", segment, err)
		}
	}
	if segments[len(segments)-1] == anyFolders {
		segments = append(segments, "*")
	}
	paths, err := match(string(filepath.Separator), segments)
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil // a/**/**/b leads to the same file in more ways than one
}

// match returns the files below dir that the segments of a pattern lead to.
func match(dir string, segments []string) ([]string, error) {
	segment, rest := segments[0], segments[1:]
	if !isGlob(segment) {
		return follow(filepath.Join(dir, segment), rest)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the folder: %w", err)
	}
	var paths []string
	collect := func(found []string, err error) error {
		paths = append(paths, found...)
		return err
	}
	if segment == anyFolders {
		if err := collect(match(dir, rest)); err != nil {
			return nil, err
		}
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch matched, _ := filepath.Match(segment, entry.Name()); { // glob has checked the pattern
		case isHidden(entry.Name()) && !isHidden(segment):
		case segment == anyFolders && entry.IsDir(): // not through links, which may lead in circles
			err = collect(match(path, segments))
		case segment != anyFolders && matched:
			err = collect(follow(path, rest))
		}
		if err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// follow goes on at a path that matches so far: with its file at the end of the pattern, else into the folder.
func follow(path string, rest []string) ([]string, error) {
	found, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for %s: %w", path, err)
	case len(rest) == 0 && !found.IsDir():
		return []string{path}, nil
	case len(rest) > 0 && found.IsDir():
		return match(path, rest)
	default:
		return nil, nil
	}
}
