package coordinator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/io/store"
)

// stateVersion is the version of the state folder's formats, specified in docs/format.md.
const stateVersion = 1

// State is a job's state folder.
type State struct{ Dir string }

// Names of the files in a state folder. A part's files carry its number in eight digits.
const (
	manifestFile = "manifest.json"
	lockFile     = "lock"
	triesFile    = "tries.journal"
	ballastFile  = "ballast"
	socketFile   = "redis.sock"
	partsDir     = "parts"

	metaSuffix    = ".json"        // what the part covers; once sealed, also how its records ended
	spoolSuffix   = ".records"     // an open part's records
	journalSuffix = ".journal"     // an open part's results, as they came
	sealedSuffix  = ".results.zst" // a sealed part's results, in input order
	outputSuffix  = ".output"      // a sealed part's share of a single-file output
)

// StateOf names the folder of a job's state: root/NAME, or root/NAME.simulated for a rehearsal.
func StateOf(root, name string, simulated bool) State {
	if simulated {
		name += ".simulated"
	}
	return State{filepath.Join(root, name)}
}

// create makes the folder, for its owner alone, and keeps it out of version control.
func (s State) create() error {
	if err := os.MkdirAll(filepath.Join(s.Dir, partsDir), 0o700); err != nil {
		return fmt.Errorf("create state folder: %w", err)
	}
	if err := os.Chmod(s.Dir, 0o700); err != nil { //nolint:gosec // a folder needs its x bit
		return fmt.Errorf("close state folder to others: %w", err)
	}
	ignore := filepath.Join(filepath.Dir(s.Dir), ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o600); err != nil {
			return fmt.Errorf("write .gitignore of the state folder: %w", err)
		}
	}
	return nil
}

// Manifest reads the run's manifest; fs.ErrNotExist when there is no run.
func (s State) Manifest() (*Manifest, error) {
	data, err := os.ReadFile(filepath.Join(s.Dir, manifestFile))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	var m Manifest
	if err := decodeVersioned(data, &m); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", filepath.Join(s.Dir, manifestFile), err)
	}
	return &m, nil
}

// decodeVersioned reads a JSON file of the state folder. The version comes first: another one may mean other types.
func decodeVersioned(data []byte, into any) error {
	var format struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &format); err != nil {
		return err
	}
	if format.Version != stateVersion {
		return fmt.Errorf("it has format version %d and this batchwright knows %d: use the batchwright that wrote it",
			format.Version, stateVersion)
	}
	return json.Unmarshal(data, into)
}

func (s State) writeManifest(m *Manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := store.WriteFile(filepath.Join(s.Dir, manifestFile), append(data, '\n')); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

func (s State) partFile(index int, suffix string) string {
	return filepath.Join(s.Dir, partsDir, fmt.Sprintf("%08d%s", index, suffix))
}

// Parts reads what the run knows of its parts, in order.
func (s State) Parts() ([]PartMeta, error) {
	entries, err := os.ReadDir(filepath.Join(s.Dir, partsDir))
	if err != nil {
		return nil, fmt.Errorf("list parts: %w", err)
	}
	var parts []PartMeta
	for _, entry := range entries {
		digits, found := strings.CutSuffix(entry.Name(), metaSuffix)
		index, err := strconv.Atoi(digits)
		if !found || err != nil {
			continue
		}
		meta, err := s.part(index)
		if err != nil {
			return nil, err
		}
		parts = append(parts, meta)
	}
	sort.Slice(parts, func(i, j int) bool { return parts[i].Index < parts[j].Index })
	for i := range parts {
		if parts[i].Index != i {
			return nil, fmt.Errorf("part %d is missing from %s", i, s.Dir)
		}
	}
	return parts, nil
}

// checkLogs makes sure that a run's logs are of the version that this build writes, before any of them is opened for
// writing: a run of another version is left as it is.
func (s State) checkLogs(parts []PartMeta) error {
	paths := []string{filepath.Join(s.Dir, triesFile)}
	for i := range parts {
		if !parts[i].Sealed {
			paths = append(paths, s.partFile(i, spoolSuffix), s.partFile(i, journalSuffix))
		}
	}
	for _, path := range paths {
		err := journal.ScanFile(path, func(int64, []byte) error { return errEnough })
		if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at logs: %w", err)
		}
	}
	return nil
}

// part reads what the run knows of one part.
func (s State) part(index int) (PartMeta, error) {
	data, err := os.ReadFile(s.partFile(index, metaSuffix))
	if err != nil {
		return PartMeta{}, fmt.Errorf("read part %d: %w", index, err)
	}
	meta := PartMeta{}
	if err := decodeVersioned(data, &meta); err != nil {
		return PartMeta{}, fmt.Errorf("read part %d of %s: %w", index, s.Dir, err)
	}
	meta.Index = index
	return meta, nil
}

func (s State) writePart(meta *PartMeta) error {
	data, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encode part %d: %w", meta.Index, err)
	}
	if err := store.WriteFile(s.partFile(meta.Index, metaSuffix), append(data, '\n')); err != nil {
		return fmt.Errorf("write part %d: %w", meta.Index, err)
	}
	return nil
}

// Lock is this process's exclusive hold on a state folder; the kernel drops it when the process dies.
type Lock struct {
	file   *os.File
	holder Holder
}

// Holder is the process that holds a lock.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Started time.Time `json:"started"`
	// Socket is where the Redis in the process listens; empty when the run uses a server's.
	Socket string `json:"socket,omitempty"`
}

// HeldError says that another process holds the state folder.
type HeldError struct{ Holder Holder }

func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return "this job is being run by another process: wait for it (--wait-lock 10m) or stop it"
	}
	return fmt.Sprintf("this job is being run by process %d on %s, since %s: wait for it (--wait-lock 10m) or stop it",
		e.Holder.PID, e.Holder.Host, e.Holder.Started.Local().Format("2006-01-02 15:04:05"))
}

// Socket is where the Redis in a process that runs the job can be reached; name it to Lock.Announce. A socket's path has
// some hundred bytes at most: with a longer one the socket lies in the folder for temporary files, for this user alone.
func (s State) Socket() (path string, err error) {
	path, err = filepath.Abs(filepath.Join(s.Dir, socketFile))
	if err != nil || len(path) <= maxSocketPath {
		return path, err
	}
	dir, err := os.MkdirTemp("", "batchwright-")
	if err != nil {
		return "", fmt.Errorf("create folder for socket: %w", err)
	}
	return filepath.Join(dir, socketFile), nil
}

// maxSocketPath is what the least of the systems allows (sun_path of macOS has 104 bytes with its end).
const maxSocketPath = 100

// Lock takes the folder, creating it where needed. *HeldError when another process has it.
func (s State) Lock() (*Lock, error) {
	if err := s.create(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(s.Dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close() //nolint:errcheck // only read
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		held := &HeldError{}
		if err := json.NewDecoder(file).Decode(&held.Holder); err != nil {
			held.Holder = Holder{} // it has the lock and not yet written who it is
		}
		return nil, held
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	l := &Lock{file: file}
	if err := json.NewDecoder(file).Decode(&l.holder); err == nil && l.holder.Host == host {
		l.dropSocket() // of a process that was killed
	}
	l.holder = Holder{PID: os.Getpid(), Host: host, Started: time.Now()}
	if err := l.write(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

// Announce says at which socket the Redis in this process listens.
func (l *Lock) Announce(socket string) error {
	l.holder.Socket = socket
	return l.write()
}

func (l *Lock) write() error {
	who, err := json.Marshal(l.holder)
	if err == nil {
		err = l.file.Truncate(0)
	}
	if err == nil {
		_, err = l.file.WriteAt(who, 0)
	}
	if err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// dropSocket removes the socket that the lock names and, where that was made for it alone, its folder.
func (l *Lock) dropSocket() {
	if dir, name := filepath.Split(l.holder.Socket); name == socketFile {
		_ = os.Remove(l.holder.Socket) // it is mostly gone
		_ = os.Remove(dir)             // and a state folder is not empty
	}
}

// Unlock gives the folder up.
func (l *Lock) Unlock() error {
	l.dropSocket()
	return l.file.Close()
}
