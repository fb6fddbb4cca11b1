package parquetio

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/jobs"
)

func TestConcatJoinsParts(t *testing.T) {
	t.Parallel()
	schema, rows := readRows(t, "testdata/types.v2.parquet")
	parts := []string{writeFile(t, schema, rows...), writeFile(t, schema), writeFile(t, schema, rows[:1]...)}
	var whole bytes.Buffer
	if err := Concat(&whole, schema, parts); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "whole.parquet")
	if err := os.WriteFile(path, whole.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again, got := readRows(t, path)
	if diff := cmp.Diff(schema, again); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(append([][]jobs.Member{}, rows...), rows[0]), got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestConcatOfNothingHasColumnsAndNoRows(t *testing.T) {
	t.Parallel()
	var whole bytes.Buffer
	if err := Concat(&whole, typesSchema(), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "whole.parquet")
	if err := os.WriteFile(path, whole.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, rows := readRows(t, path)
	if diff := cmp.Diff(typesSchema(), schema); diff != "" || len(rows) != 0 {
		t.Errorf("%d rows, schema (-want +got):\n%s", len(rows), diff)
	}
}

// TestConcatCopiesRowGroups holds that joining does not pack values anew: the bytes of the pages are the parts'.
func TestConcatCopiesRowGroups(t *testing.T) {
	t.Parallel()
	schema := jobs.Schema{{Name: "text", Type: jobs.Type{Kind: jobs.KindString}}, {Name: "n", Type: jobs.Type{Kind: jobs.KindInteger}}}
	var rows [][]jobs.Member
	for i := range 1000 {
		rows = append(rows, []jobs.Member{member("text", fmt.Sprintf(`"some text %d"`, i*i)), member("n", strconv.Itoa(i))})
	}
	part := writeFile(t, schema, rows...)
	content, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	column := opened.Metadata().RowGroups[0].Columns[0].MetaData
	pages := content[column.DataPageOffset : column.DataPageOffset+column.TotalCompressedSize]
	var whole bytes.Buffer
	if err := Concat(&whole, schema, []string{part, part}); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(whole.Bytes(), pages); n != 2 {
		t.Errorf("the part's pages are in the whole %d times, want 2", n)
	}
}

func TestConcatNamesADamagedPart(t *testing.T) {
	t.Parallel()
	schema, rows := readRows(t, "testdata/types.zstd.parquet")
	part := writeFile(t, schema, rows...)
	if err := os.Truncate(part, 1000); err != nil {
		t.Fatal(err)
	}
	if err := Concat(io.Discard, schema, []string{part}); err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("Concat: error %v, want one that names the part", err)
	}
	other := writeFile(t, jobs.Schema{{Name: "other", Type: jobs.Type{Kind: jobs.KindString}}}, []jobs.Member{member("other", `"x"`)})
	if err := Concat(io.Discard, schema, []string{other}); err == nil {
		t.Error("Concat takes a part of another schema")
	}
}
