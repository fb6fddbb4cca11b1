package journal_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/batchwright/batchwright/io/journal"
)

func Example() {
	folder, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)

	path := filepath.Join(folder, "part-000000.journal")
	log, err := journal.Create(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = log.Append([]byte("an answer"))
	_, _ = log.Append([]byte("another"))
	if err := log.Commit(); err != nil { // both are safe now, with one fsync
		fmt.Println(err)
		return
	}
	_ = log.Close()

	err = journal.ScanFile(path, func(_ int64, payload []byte) error {
		fmt.Println(string(payload))
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// an answer
	// another
}
