// Package sink writes rows as a file of any output format, and joins part files into one. It promises that a
// text line holds one whole row, and that parts joined read as if they had been written at once.
package sink

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Format is a file format of the output.
type Format string

// The formats.
const (
	JSONL     Format = "jsonl"
	JSONLGzip Format = "jsonl.gz"
	JSONLZstd Format = "jsonl.zst"
	Parquet   Format = "parquet"
)

// FormatOf tells the format of a file from the ending of its name.
func FormatOf(path string) (Format, error) {
	name := strings.ToLower(filepath.Base(path))
	for _, f := range []Format{JSONL, JSONLGzip, JSONLZstd, Parquet} {
		if strings.HasSuffix(name, f.Extension()) {
			return f, nil
		}
	}
	return "", fmt.Errorf("output %s: no format is known by that ending: use .jsonl, .jsonl.gz, .jsonl.zst or .parquet", path)
}

// Typed reports whether files of the format hold types, so that writing needs a schema first.
func (f Format) Typed() bool { return f == Parquet }

// Extension is the ending of a file name, with its dot.
func (f Format) Extension() string { return "." + string(f) }
