package coordinator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/jobs"
)

// tryEntry is an entry of the journal of tries: an answer, and the address of the API that gave it. The entries
// stand in the order in which tries showed them.
type tryEntry struct {
	api    string
	result jobs.Result
}

// appendTry encodes an entry: {"api": "https://…", "result": {…}}, the result as in a part's journal.
func appendTry(dst []byte, api string, result *jobs.Result) []byte {
	dst = append(dst, `{"api":`...)
	dst = jobs.AppendString(dst, api)
	dst = append(dst, `,"result":`...)
	return append(jobs.AppendResult(dst, result), '}')
}

// eachTry calls fn for each entry of a job's journal of tries, in order. Without one there are none.
func eachTry(state State, fn func(tryEntry)) error {
	err := journal.ScanFile(filepath.Join(state.Dir, triesFile), func(offset int64, payload []byte) error {
		var entry struct {
			API    string          `json:"api"`
			Result json.RawMessage `json:"result"`
		}
		if err := json.Unmarshal(payload, &entry); err != nil {
			return fmt.Errorf("journal of tries at byte %d: %w", offset, err)
		}
		result, err := jobs.ParseResult(entry.Result)
		if err != nil {
			return fmt.Errorf("journal of tries at byte %d: %w", offset, err)
		}
		fn(tryEntry{entry.API, result})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ErrTrying says that another try of the same job is on.
var ErrTrying = errors.New("another try of this job is on: wait until it has ended")

// triesLockFile is locked by the one process that tries the job. It is not the run's lock: a prompt can be tried
// while the run is on.
const triesLockFile = "tries.lock"

// lockTries takes the journal of tries for this process. ErrTrying when another one has it.
func (s State) lockTries() (*Lock, error) {
	file, err := os.OpenFile(filepath.Join(s.Dir, triesLockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of tries: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrTrying
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock tries: %w", err), file.Close())
	}
	return &Lock{file: file}, nil
}
