package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// write makes files, by path below a new folder, and returns the folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// gzipped compresses each text as one member of a gzip file.
func gzipped(t *testing.T, texts ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, text := range texts {
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// zstandard compresses each text as one frame of a zstd file.
func zstandard(t *testing.T, texts ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, text := range texts {
		w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestResolveOrder(t *testing.T) {
	t.Parallel()
	tree := map[string]string{
		"b.jsonl": "", "a.jsonl": "", "a10.jsonl": "", "a2.jsonl": "", ".hidden.jsonl": "", "notes.txt": "x",
		"data/2.csv": "", "data/1.tsv": "", "data/.3.csv": "", "data/read.me": "", "data/sub/4.csv": "",
		"data/.git/5.csv": "", "data/sub/deep/6.csv": "", "data/sub.csv/7.csv": "",
		"x[1].jsonl": "", "x1.jsonl": "",
	}
	for _, test := range []struct {
		name   string
		inputs []string
		want   []string
	}{
		{"one path", []string{"b.jsonl"}, []string{"b.jsonl"}},
		{"list order", []string{"b.jsonl", "a.jsonl"}, []string{"b.jsonl", "a.jsonl"}},
		{"glob in name order", []string{"a*.jsonl"}, []string{"a.jsonl", "a10.jsonl", "a2.jsonl"}},
		{"glob after path", []string{"b.jsonl", "a?.jsonl"}, []string{"b.jsonl", "a2.jsonl"}},
		{"glob passes over hidden files", []string{"*.jsonl"}, []string{"a.jsonl", "a10.jsonl", "a2.jsonl", "b.jsonl", "x1.jsonl", "x[1].jsonl"}},
		{"glob that names hidden files", []string{".h*.jsonl"}, []string{".hidden.jsonl"}},
		{"glob of folders", []string{"d*/*.csv"}, []string{"data/2.csv"}},
		{"class", []string{"[a-b].jsonl"}, []string{"a.jsonl", "b.jsonl"}},
		{"name that looks like a glob", []string{"x[1].jsonl"}, []string{"x[1].jsonl"}},
		{"escaped glob", []string{`x\[?].jsonl`}, []string{"x[1].jsonl"}},
		{"any folders", []string{"data/**/*.csv"}, []string{"data/2.csv", "data/sub.csv/7.csv", "data/sub/4.csv", "data/sub/deep/6.csv"}},
		{"any folders in the middle", []string{"**/sub/*.csv"}, []string{"data/sub/4.csv"}},
		{"any folders twice", []string{"**/**/6.csv"}, []string{"data/sub/deep/6.csv"}},
		{"any folders at the end", []string{"data/sub/**"}, []string{"data/sub/4.csv", "data/sub/deep/6.csv"}},
		{"folder", []string{"data"}, []string{"data/1.tsv", "data/2.csv"}},
		{"folder with slash", []string{"data/"}, []string{"data/1.tsv", "data/2.csv"}},
		{"path with dots", []string{"data/../b.jsonl"}, []string{"b.jsonl"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, tree)
			files, err := Resolve(dir, test.inputs)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, file := range files {
				path, err := filepath.Rel(dir, file.Path)
				if err != nil || !filepath.IsAbs(file.Path) {
					t.Fatalf("path %s is not absolute and below %s", file.Path, dir)
				}
				got = append(got, path)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolveFormat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		text string
		want File
	}{
		{"a.jsonl", "", File{Format: JSONL}},
		{"a.NDJSON", "{}", File{Format: JSONL}},
		{"a.json", "{\"a\":1}\n", File{Format: JSONL}},
		{"a.json", "", File{Format: JSONL}},
		{"broken.jsonl", "[\n", File{Format: JSONL}},
		{"a.csv", "", File{Format: CSV}},
		{"a.tsv", "", File{Format: TSV}},
		{"a.parquet", "", File{Format: Parquet}},
		{"a.jsonl.gz", gzipped(t, "{}"), File{Format: JSONL, Compression: Gzip}},
		{"a.csv.zst", zstandard(t, "a\n"), File{Format: CSV, Compression: Zstd}},
		{"skippable frame first.jsonl.zst", "\x50\x2a\x4d\x18\x00\x00\x00\x00", File{Format: JSONL, Compression: Zstd}},
		{"no ending of a compression.jsonl", gzipped(t, "{}"), File{Format: JSONL, Compression: Gzip}},
		{"part-0000", "PAR1", File{Format: Parquet}},
		{"records", "\ufeff \n{\"a\":1}\n", File{Format: JSONL}},
		{"records.txt", "{\"a\":1}", File{Format: JSONL}},
		{"records.gz", gzipped(t, strings.Repeat("{\"a\":1}\n", 1000)), File{Format: JSONL, Compression: Gzip}},
		{"records.bak", zstandard(t, "{}\n"), File{Format: JSONL, Compression: Zstd}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			files, err := Resolve(write(t, map[string]string{test.name: test.text}), []string{test.name})
			if err != nil {
				t.Fatal(err)
			}
			if got := files[0]; got.Format != test.want.Format || got.Compression != test.want.Compression {
				t.Errorf("format %q %q, want %q %q", got.Format, got.Compression, test.want.Format, test.want.Compression)
			}
			if got := files[0].Size; got != int64(len(test.text)) {
				t.Errorf("size %d, want %d", got, len(test.text))
			}
		})
	}
}

func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	tree := map[string]string{
		"a.jsonl": "{}\n", "b.jsonl": "", "c.parquet": "", "empty/x.txt": "", "text.txt": "hello\n", "list.json": "[{}]",
		"list": "[{}]", "pretty.json": "{\n  \"a\": 1\n}\n", "cut.jsonl.gz": "", "plain.csv.zst": "a,b\n",
		"inside.parquet.gz": gzipped(t, "PAR1"), "none": "", "bad.gz": "\x1f\x8b\x08",
	}
	for _, test := range []struct {
		name   string
		inputs []string
		want   string // DIR stands for the folder
	}{
		{"none", nil, `no input is named`},
		{"missing", []string{"a.jsonl", "z.jsonl"}, `input "z.jsonl": there is no file or folder DIR/z.jsonl: file does not exist`},
		{"no match", []string{"z*.jsonl"}, `input "z*.jsonl": no file matches DIR/z*.jsonl: file does not exist`},
		{"no match in a folder that is not there", []string{"z/*.jsonl"}, `input "z/*.jsonl": no file matches DIR/z/*.jsonl: file does not exist`},
		{"glob that matches a folder only", []string{"emp*"}, `input "emp*": no file matches DIR/emp*: file does not exist`},
		{"bad pattern", []string{"a[.jsonl"}, `input "a[.jsonl": the pattern "a[.jsonl" is wrong: syntax error in pattern`},
		{"folder without input", []string{"empty"}, `input "empty": the folder DIR/empty holds no file that ends in ` +
			`.jsonl, .ndjson, .json, .csv, .tsv (also .gz or .zst) or .parquet (for files of folders within, write DIR/empty/**/*.jsonl): file does not exist`},
		{"URL", []string{"s3://bucket/a.jsonl"}, `input "s3://bucket/a.jsonl": s3 addresses cannot be read; copy the files to this machine and name them here`},
		{"twice", []string{"a.jsonl", "*.jsonl"}, `input "*.jsonl": DIR/a.jsonl is in the input already, by "a.jsonl"; its records would be paid twice`},
		{"text and Parquet", []string{"a.jsonl", "c.parquet"}, `input "c.parquet": Parquet and text cannot be mixed in one job: DIR/a.jsonl is jsonl, DIR/c.parquet is parquet`},
		{"unknown", []string{"text.txt"}, `input "text.txt": neither name nor content of DIR/text.txt tells its format; ` +
			`rename it to end in .jsonl, .ndjson, .json, .csv, .tsv (also .gz or .zst) or .parquet`},
		{"unknown and empty", []string{"none"}, `input "none": neither name nor content of DIR/none tells its format; ` +
			`rename it to end in .jsonl, .ndjson, .json, .csv, .tsv (also .gz or .zst) or .parquet`},
		{"JSON list", []string{"list.json"}, `input "list.json": DIR/list.json is one JSON list, and an object on each line is needed: jq -c '.[]' makes that of it`},
		{"JSON list without a name", []string{"list"}, `input "list": DIR/list is one JSON list, and an object on each line is needed: jq -c '.[]' makes that of it`},
		{"JSON over lines", []string{"pretty.json"}, `input "pretty.json": DIR/pretty.json has objects that span lines, and one on each line is needed: jq -c . makes that of it`},
		{"no byte of gzip", []string{"cut.jsonl.gz"}, `input "cut.jsonl.gz": DIR/cut.jsonl.gz is named as gzip but does not start as gzip; fetch it again or rename it`},
		{"text named as zstd", []string{"plain.csv.zst"}, `input "plain.csv.zst": DIR/plain.csv.zst is named as zstd but does not start as zstd; fetch it again or rename it`},
		{"Parquet in gzip", []string{"inside.parquet.gz"}, `input "inside.parquet.gz": DIR/inside.parquet.gz is Parquet inside gzip; unpack it first`},
		{"gzip without content", []string{"bad.gz"}, `input "bad.gz": read DIR/bad.gz: the file is cut off, fetch it again: start gzip: unexpected EOF`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, tree)
			_, err := Resolve(dir, test.inputs)
			want := strings.ReplaceAll(test.want, "DIR", dir)
			if err == nil || err.Error() != want {
				t.Fatalf("error\n%v, want\n%s", err, want)
			}
			if strings.HasSuffix(want, "does not exist") != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("errors.Is(err, fs.ErrNotExist) is %t", errors.Is(err, fs.ErrNotExist))
			}
		})
	}
}

// A pipe cannot be read again after a stop, and opening one would wait for a writer.
func TestResolveRefusesPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.jsonl"), 0o600); err != nil {
		t.Skipf("no pipe can be made here: %v", err)
	}
	if _, err := Resolve(dir, []string{"pipe.jsonl"}); err == nil || !strings.Contains(err.Error(), "is not a file that can be read again") {
		t.Errorf("error %v, want that a pipe is no file to read again", err)
	}
}

// Links to files are followed; links to folders are not by **, where they could lead in circles.
func TestResolveLinks(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"real/a.jsonl": ""})
	for link, target := range map[string]string{"b.jsonl": "real/a.jsonl", "real/circle": "..", "gone.jsonl": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Resolve(dir, []string{"**/*.jsonl"})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0].Path != filepath.Join(dir, "b.jsonl") || files[1].Path != filepath.Join(dir, "real/a.jsonl") {
		t.Errorf("files %v, want b.jsonl and real/a.jsonl", files)
	}
}

// The fingerprint sees a change at either end and of the size.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	base := bytes.Repeat([]byte("{}\n"), sampled)
	changed := func(at int) []byte {
		text := bytes.Clone(base)
		text[at] = 'x'
		return text
	}
	seen := make(map[string]string)
	for name, text := range map[string][]byte{
		"base": base, "first byte": changed(0), "end of the head": changed(sampled - 1), "last byte": changed(len(base) - 1),
		"start of the tail": changed(len(base) - sampled), "longer": append(bytes.Clone(base), base...),
		"empty": nil, "one byte": base[:1], "in the head and tail at once": base[:sampled+1], "shorter by one": base[:sampled],
	} {
		files, err := Resolve(write(t, map[string]string{"a.jsonl": string(text)}), []string{"a.jsonl"})
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[files[0].Fingerprint]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[files[0].Fingerprint] = name
	}
	again, err := Resolve(write(t, map[string]string{"b.jsonl": string(base)}), []string{"b.jsonl"})
	if err != nil {
		t.Fatal(err)
	}
	if seen[again[0].Fingerprint] != "base" {
		t.Error("the same content under another name has another fingerprint")
	}
}
