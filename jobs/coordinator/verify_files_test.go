package coordinator_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/worker/simulator"
)

// What is done to files is found: cut off, damaged, missing, and none of the run's.
func TestVerifyFindsFiles(t *testing.T) {
	t.Parallel()
	type corruption struct {
		name, output string
		change       func(r *rig, file string) error
		want         string
	}
	byOutput := make(map[string][]corruption)
	for _, test := range []corruption{
		{"text cut off in a row", "out.jsonl", cutBytes(20), "out.jsonl:300: record 299 (id r299, in.jsonl:300): the row can't be read"},
		{"text cut off in the middle", "out.jsonl", cutHalf, "the row can't be read"},
		{"gzip cut off", "out.jsonl.gz", cutHalf, "the file is cut off or damaged; the rows of "},
		{"gzip without its check sum", "out.jsonl.gz", cutBytes(6), "the file is cut off or damaged"},
		{"gzip with a wrong check sum", "out.jsonl.gz", flipByte(8), "the file is damaged: "},
		{"gzip damaged", "out.jsonl.gz", flipByte(3000), "out.jsonl.gz"},
		{"gzip that does not start as it", "out.jsonl.gz", overwrite("plain"), "does not start as gzip"},
		{"Zstandard cut off", "out.jsonl.zst", cutHalf, "the file is cut off or damaged"},
		{"Zstandard with a wrong check sum", "out.jsonl.zst", flipByte(1), "the file is damaged: "},
		{"Zstandard damaged", "out.jsonl.zst", flipByte(3000), "out.jsonl.zst"},
		{"Parquet cut off", "out.parquet", cutHalf, "the file is damaged: "},
		{"Parquet emptied", "out.parquet", overwrite(""), "the file is "},
		{"gone", "out.jsonl", func(_ *rig, file string) error { return os.Remove(file) }, "out.jsonl: the file is missing; the rows of 300 records, from record 0 on"},
		{"a folder", "out.jsonl", func(_ *rig, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, "out.jsonl: it is no regular file; the rows of 300 records"},
		{"part missing", "out/", func(_ *rig, file string) error { return os.Remove(file) }, "out/part-00000001.jsonl: the file is missing; the rows of 100 records, from record 100 on"},
		{"folder gone", "out/", func(r *rig, _ string) error { return os.RemoveAll(filepath.Join(r.dir, "out")) }, "out/part-00000000.jsonl: the file is missing"},
		{"extra part", "out/", func(r *rig, file string) error {
			return copyFile(file, filepath.Join(r.dir, "out", "part-00000003.jsonl"))
		}, "out/part-00000003.jsonl: this file is none of the run's"},
		{"foreign file", "out.parquet/", func(r *rig, _ string) error {
			return os.WriteFile(filepath.Join(r.dir, "out.parquet", "notes.txt"), nil, 0o600)
		}, "out.parquet/notes.txt: this file is none of the run's"},
		{"part in the place of another", "out/", func(r *rig, file string) error {
			return copyFile(file, filepath.Join(r.dir, "out", "part-00000000.jsonl"))
		}, `out/part-00000000.jsonl:1: record 0 (id r0, in.jsonl:1): column "id" is not`},
		{"part emptied", "out/", overwrite(""), "out/part-00000001.jsonl: record 100 (id r100, in.jsonl:101): the record has no row"},
		{"Parquet with another column", "out.parquet", func(r *rig, file string) error {
			schema, _, err := parquetio.ReadSchema(file)
			if err != nil {
				return err
			}
			r.write("out.parquet", written(r.t, sink.Parquet, append(schema, jobs.Column{Name: "x", Type: jobs.Type{Kind: jobs.KindString}}), r.mustRows("out.parquet")))
			return nil
		}, `out.parquet: the file has a column "x"`},
		{"Parquet without a column", "out.parquet", func(r *rig, file string) error {
			schema, _, err := parquetio.ReadSchema(file)
			if err != nil {
				return err
			}
			r.write("out.parquet", written(r.t, sink.Parquet, schema[1:], nil))
			return nil
		}, `out.parquet: the file has no column "id"; the rows of 300 records`},
	} {
		byOutput[test.output] = append(byOutput[test.output], test)
	}
	for output, tests := range byOutput {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", strings.Replace(textJob, "out.jsonl", output, 1))
			r.write("in.jsonl", lines(300))
			r.completeInParts(100)
			whole := filepath.Join(r.dir, output)
			kept := filepath.Join(r.dir, "kept")
			if err := copyAll(whole, kept); err != nil {
				t.Fatal(err)
			}
			file := whole
			if strings.HasSuffix(output, "/") {
				file = filepath.Join(whole, "part-00000001.jsonl")
			}
			for _, test := range tests {
				if err := errors.Join(os.RemoveAll(whole), copyAll(kept, whole)); err != nil {
					t.Fatal(err)
				}
				if found := r.verify(); !found.OK() {
					t.Fatalf("the output of a true run: %v", found.Problems)
				}
				if err := test.change(r, file); err != nil {
					t.Fatal(err)
				}
				found := r.verify()
				var listed strings.Builder
				for i := range found.Problems {
					listed.WriteString(strings.ReplaceAll(found.Problems[i].String(), r.dir+"/", "") + "\n")
				}
				if found.OK() || found.Faults < 1 || !strings.Contains(listed.String(), test.want) {
					t.Errorf("%s: %d faults:\n%swant one with %s", test.name, found.Faults, listed.String(), test.want)
				}
			}
		})
	}
}

// copyAll copies a file or the files of a folder.
func copyAll(from, to string) error {
	about, err := os.Stat(from)
	if err != nil {
		return err
	}
	if about.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	return copyFile(from, to)
}

func cutBytes(n int) func(*rig, string) error {
	return func(_ *rig, file string) error {
		about, err := os.Stat(file)
		if err != nil {
			return err
		}
		return os.Truncate(file, about.Size()-int64(n))
	}
}

func cutHalf(r *rig, file string) error {
	about, err := os.Stat(file)
	if err != nil {
		return err
	}
	return cutBytes(int(about.Size()/2))(r, file)
}

func flipByte(fromEnd int) func(*rig, string) error {
	return func(_ *rig, file string) error {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		content[len(content)-fromEnd] ^= 0x10
		return os.WriteFile(file, content, 0o600)
	}
}

func overwrite(content string) func(*rig, string) error {
	return func(_ *rig, file string) error { return os.WriteFile(file, []byte(content), 0o600) }
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
