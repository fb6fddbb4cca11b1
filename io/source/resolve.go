package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files is the ordered input of a run. A jobs.Position's File is an index into it.
type Files []File

// File is one file of the input as it was when it was resolved.
type File struct {
	// Path is absolute.
	Path        string      `json:"path"`
	Format      Format      `json:"format"`
	Compression Compression `json:"compression,omitempty"`
	// Size is that of the file as it lies on the disk, in bytes.
	Size int64 `json:"size"`
	// Fingerprint is a hexadecimal SHA-256 over Size and the first and last 64 KiB, so that a change of a large file
	// is noticed at little cost; one in the middle that keeps the size is not.
	Fingerprint string `json:"fingerprint"`
}

// Resolve finds the files that inputs name: paths, globs (*, ? and [a-z] within a name, ** for any folders) and
// folders, whose files of known formats count, not those of folders within. Relative ones start at dir. Hidden
// files are left out unless they are named. It looks into each file, but reads none whole. An input that leads to
// no file is an error that wraps fs.ErrNotExist.
func Resolve(dir string, inputs []string) (Files, error) {
	if len(inputs) == 0 {
		return nil, errors.New("no input is named")
	}
	var files Files
	named := make(map[string]string) // what brought each path in
	for _, input := range inputs {
		paths, err := expand(dir, input)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", input, err)
		}
		for _, path := range paths {
			if earlier, ok := named[path]; ok {
				return nil, fmt.Errorf("input %q: %s is in the input already, by %q; its records would be paid twice",
					input, path, earlier)
			}
			named[path] = input
			file, err := FileAt(path)
			if err != nil {
				return nil, fmt.Errorf("input %q: %w", input, err)
			}
			if len(files) > 0 && (file.Format == Parquet) != (files[0].Format == Parquet) {
				return nil, fmt.Errorf("input %q: Parquet and text cannot be mixed in one job: %s is %s, %s is %s",
					input, files[0].Path, files[0].Format, file.Path, file.Format)
			}
			files = append(files, file)
		}
	}
	return files, nil
}

// expand returns the absolute paths that one input stands for, in order; there is at least one.
func expand(dir, input string) ([]string, error) {
	if scheme, _, ok := strings.Cut(input, "://"); ok {
		return nil, fmt.Errorf("%s addresses cannot be read; copy the files to this machine and name them here", scheme)
	}
	path := input
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find it: %w", err)
	}
	found, err := os.Stat(path)
	switch {
	case err == nil && found.IsDir():
		return folder(path)
	case err == nil:
		return []string{path}, nil // also a file whose name looks like a glob
	case !isGlob(path):
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file or folder %s: %w", path, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("look for it: %w", err)
	}
	paths, err := glob(path)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no file matches %s: %w", path, fs.ErrNotExist)
	}
	return paths, nil
}

// folder lists the files of known formats in a folder, by name.
func folder(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the folder: %w", err)
	}
	var paths []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if format, _ := formatOf(path); format == "" || isHidden(entry.Name()) || !isFile(path) {
			continue
		}
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("the folder %s holds no file that ends in %s (for files of folders within, write %s): %w",
			dir, endings, filepath.Join(dir, "**", "*.jsonl"), fs.ErrNotExist)
	}
	return paths, nil
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") }

// isFile reports whether path leads to a regular file, through links too.
func isFile(path string) bool {
	found, err := os.Stat(path)
	return err == nil && found.Mode().IsRegular()
}
