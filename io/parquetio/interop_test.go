package parquetio

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOthersReadWhatWriterWrites has pyarrow and DuckDB read a file of all types, and pyarrow write it again; both
// must find the types that the schema says.
func TestOthersReadWhatWriterWrites(t *testing.T) {
	t.Parallel()
	const python = "python3"
	if out, err := exec.Command(python, "-c", "import pyarrow, duckdb").CombinedOutput(); err != nil {
		t.Skipf("skipped: %s has no pyarrow and duckdb (pip install pyarrow duckdb): %v %s", python, err, bytes.TrimSpace(out))
	}
	schema, rows := readRows(t, "testdata/types.zstd.parquet")
	path := writeFile(t, schema, rows...)
	again := filepath.Join(t.TempDir(), "again.parquet")
	out, err := exec.Command(python, "testdata/interop.py", path, again, "testdata/types.zstd.parquet").CombinedOutput()
	if err != nil {
		t.Fatalf("interop.py: %v\n%s", err, out)
	}
	want, err := os.ReadFile("testdata/interop.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(out), "\n")); diff != "" {
		t.Errorf("types that others see (-want +got):\n%s", diff)
	}
	schemaAgain, rowsAgain := readRows(t, again)
	if diff := cmp.Diff(schema, schemaAgain); diff != "" {
		t.Errorf("schema after pyarrow (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(rows, rowsAgain); diff != "" {
		t.Errorf("rows after pyarrow (-want +got):\n%s", diff)
	}
}
