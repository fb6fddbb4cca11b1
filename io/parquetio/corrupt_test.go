package parquetio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// maxCorruptAlloc bounds what reading a damaged file of a few KB may allocate in all.
const maxCorruptAlloc = 256 << 20

// readThrough reads a file to its end or first error and counts its records.
func readThrough(path string, row int64) (rows int64, err error) {
	r, err := Open(path, 0, row)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			if _, again := r.Next(); again == nil {
				return rows, errors.New("a record after a final error")
			}
			return rows, err
		}
		rows++
	}
}

// TestReaderSurvivesDamage holds that a damaged file never makes the reader panic, give a wrong number of records
// without an error, or allocate more than maxCorruptAlloc. It is not parallel because it measures allocation.
func TestReaderSurvivesDamage(t *testing.T) {
	const seed = 20261122
	random := rand.New(rand.NewPCG(seed, 1))
	path := filepath.Join(t.TempDir(), "damaged.parquet")
	mutations := 2000
	if testing.Short() {
		mutations = 200
	}
	sources := fixtures(t)
	damaged, unharmed := 0, 0
	for i := range mutations {
		source := sources[i%len(sources)]
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		rows := int64(len(wantLines(t, expectation(source))))
		content = mutate(random, content)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := readThrough(path, 0)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > maxCorruptAlloc {
			t.Errorf("mutation %d of %s: %d bytes were allocated", i, source, spent)
		}
		switch {
		case err == nil && got != rows:
			t.Errorf("mutation %d of %s: %d records in place of %d and no error", i, source, got, rows)
		case err == nil:
			unharmed++
		default:
			damaged++
			if strings.Contains(err.Error(), "damaged: runtime error") {
				t.Errorf("mutation %d of %s: the reader panicked inside: %v", i, source, err)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("mutation %d of %s: the error does not name the file: %v", i, source, err)
			}
		}
	}
	// Damage to values, statistics and indexes cannot be seen where pages have no checksum.
	t.Logf("%d mutations with an error, %d without", damaged, unharmed)
	if damaged < mutations/10 {
		t.Errorf("only %d of %d mutations did harm: the test tests nothing", damaged, mutations)
	}
}

// mutate damages a file: bytes changed, most near the end where the metadata are, a piece cut out or doubled.
func mutate(random *rand.Rand, content []byte) []byte {
	switch random.IntN(10) {
	case 0:
		return content[:random.IntN(len(content))]
	case 1:
		at := random.IntN(len(content) - 1)
		return append(content[:at:at], content[min(at+1+random.IntN(16), len(content)):]...)
	case 2:
		at := random.IntN(len(content) - 1)
		return append(content[:at:at], content[at/2:]...)
	}
	footer := int(binary.LittleEndian.Uint32(content[len(content)-8:])) + 8
	for range 1 + random.IntN(4) {
		at := random.IntN(len(content))
		if random.IntN(2) == 0 {
			at = len(content) - 1 - random.IntN(footer)
		}
		switch random.IntN(3) {
		case 0:
			content[at] = byte(random.Uint32())
		case 1:
			content[at] ^= 1 << random.IntN(8)
		default:
			// The longest numbers, to make sizes hostile.
			for i := at; i < min(at+1+random.IntN(5), len(content)); i++ {
				content[i] = 0xff
			}
		}
	}
	return content
}

// TestReaderRefusesCutFilesAtAnyPlace cuts a file everywhere and keeps its end, so that the metadata stay whole.
func TestReaderRefusesCutFilesAtAnyPlace(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile("testdata/encodings.delta.parquet")
	if err != nil {
		t.Fatal(err)
	}
	footer := int(binary.LittleEndian.Uint32(whole[len(whole)-8:])) + 8
	path := filepath.Join(t.TempDir(), "cut.parquet")
	for at := 4; at < len(whole)-footer; at += 61 {
		content := append(append([]byte{}, whole[:at]...), whole[len(whole)-footer:]...)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if rows, err := readThrough(path, 0); err == nil {
			t.Errorf("with all bytes from %d to the metadata cut: %d records and no error", at, rows)
		}
	}
}

// TestReaderChecksPages holds that a changed byte in a page with a checksum is found, also in packed text.
func TestReaderChecksPages(t *testing.T) {
	t.Parallel()
	schema, rows := readRows(t, "testdata/types.zstd.parquet")
	path := writeFile(t, schema, rows...)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	for _, column := range opened.Metadata().RowGroups[0].Columns {
		at := column.MetaData.DataPageOffset + column.MetaData.TotalCompressedSize - 1
		content[at] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		content[at] ^= 1
		if _, err := readThrough(path, 0); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%v: error %v, want one about the checksum", column.MetaData.PathInSchema, err)
		}
	}
}

// FuzzReader holds that no file makes the reader panic, that it gives as many records as the metadata say or an
// error, and that what it reads from the middle on is as many as are left.
func FuzzReader(f *testing.F) {
	for _, path := range fixtures(f) {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	path := filepath.Join(f.TempDir(), "fuzz.parquet")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, want, err := ReadSchema(path)
		if err != nil || want > 1<<20 {
			return
		}
		rows, err := readThrough(path, 0)
		if err != nil {
			if strings.Contains(err.Error(), "damaged: runtime error") {
				t.Errorf("the reader panicked inside: %v", err)
			}
			return
		}
		if rows != want {
			t.Errorf("%d records, the metadata say %d", rows, want)
		}
		if rest, err := readThrough(path, rows/2); err == nil && rest != rows-rows/2 {
			t.Errorf("%d records from row %d on, want %d", rest, rows/2, rows-rows/2)
		}
	})
}
