package coordinator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mostPieces is after how many pieces a file is stored again as one: a part that stays open for hours would have
// thousands.
const mostPieces = 32

// uploads is what a holder has stored of its run.
type uploads struct {
	run       string
	simulated bool
	number    int                   // of the last object
	sealed    []string              // by part, as in a checkpoint
	files     map[string]storedFile // of open parts and tries, by name
	// stored holds the keys that are to be deleted as soon as no checkpoint needs them, and those of uploads that
	// failed, which may be there all the same.
	stored map[string]bool
	last   []byte // the last checkpoint, without the time worked on the run
	swept  bool   // what earlier holders left of open parts is deleted
}

// picture is a run at one moment, its open parts' files held open so that nothing in it goes away.
type picture struct {
	manifest Manifest
	done     int64
	parts    int // begun
	open     map[int]*openFiles
}

type openFiles struct {
	meta             PartMeta
	records, journal snapshotFile
}

// snapshotFile is a growing file as far as it went at one moment.
type snapshotFile struct {
	*os.File
	size int64
}

func snapshotOf(path string) (snapshotFile, error) {
	file, err := os.Open(path) //nolint:gosec // the state folder's own
	if err != nil {
		return snapshotFile{}, err
	}
	about, err := file.Stat()
	if err != nil {
		return snapshotFile{}, errors.Join(err, file.Close())
	}
	return snapshotFile{file, about.Size()}, nil
}

// picture looks at the run between two groups of the journal, so that all results that are counted are on the disk.
// Records are spooled before they are handed out: each result's record is in the picture too.
func (r *Run) picture(ctx context.Context) (*picture, error) {
	stop := context.AfterFunc(ctx, r.wake)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.committing && ctx.Err() == nil {
		r.changed.Wait()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	p := &picture{manifest: *r.manifest, done: r.tally.Done(), parts: r.nextPart, open: make(map[int]*openFiles, len(r.parts))}
	if !r.started.IsZero() {
		p.manifest.Elapsed += time.Since(r.started)
	}
	for index, part := range r.parts {
		files := &openFiles{meta: part.meta}
		p.open[index] = files
		var err error
		if files.records, err = snapshotOf(r.state.partFile(index, spoolSuffix)); err == nil {
			files.journal, err = snapshotOf(r.state.partFile(index, journalSuffix))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("look at part %d: %w", index, err), p.close())
		}
	}
	return p, nil
}

func (p *picture) close() error {
	var err error
	for _, files := range p.open {
		for _, file := range []snapshotFile{files.records, files.journal} {
			if file.File != nil {
				err = errors.Join(err, file.Close())
			}
		}
	}
	return err
}

// store brings the bucket up to a picture: first all that its checkpoint names, then the checkpoint, then away with
// what no checkpoint needs any more. Broken off anywhere it leaves the earlier checkpoint whole.
func (m *Mirror) store(ctx context.Context, p *picture) error {
	u := &m.uploads
	c := checkpoint{Version: stateVersion, Manifest: &p.manifest, Done: p.done}
	for len(u.sealed) < p.parts {
		u.sealed = append(u.sealed, "")
	}
	needed := make(map[string]bool)
	keep := func(name string, file snapshotFile) (storedFile, error) {
		stored, err := m.storeFile(ctx, name, file)
		for _, piece := range stored {
			needed[runKey(u.run, piece.Object)] = true
		}
		return stored, err
	}
	for index := range p.parts {
		files, open := p.open[index]
		var err error
		switch {
		case open:
			part := storedOpen{Index: index, Part: files.meta}
			if part.Records, err = keep(filepath.Base(m.state.partFile(index, spoolSuffix)), files.records); err == nil {
				part.Journal, err = keep(filepath.Base(m.state.partFile(index, journalSuffix)), files.journal)
			}
			c.Open = append(c.Open, part)
		case u.sealed[index] == "":
			u.sealed[index], err = m.storeSealed(ctx, index)
		}
		if err != nil {
			return err
		}
	}
	tries, err := snapshotOf(filepath.Join(m.state.Dir, triesFile))
	if err == nil {
		c.Tries, err = keep(triesFile, tries)
		err = errors.Join(err, tries.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	c.Sealed = u.sealed
	return m.storeCheckpoint(ctx, &c, needed)
}

// storeFile stores what a file has grown by.
func (m *Mirror) storeFile(ctx context.Context, name string, file snapshotFile) (storedFile, error) {
	pieces := m.uploads.files[name]
	if pieces.size() == file.size {
		return pieces, nil
	}
	if pieces.size() > file.size || len(pieces) >= mostPieces {
		pieces = nil
	}
	from := pieces.size()
	piece, err := m.put(ctx, openKind, name, io.NewSectionReader(file, from, file.size-from))
	if err != nil {
		return nil, err
	}
	m.uploads.stored[runKey(m.uploads.run, piece.Object)] = true
	pieces = append(slices.Clip(pieces), piece)
	m.uploads.files[name] = pieces
	return pieces, nil
}

// storeSealed stores a sealed part and gives the name of its description.
func (m *Mirror) storeSealed(ctx context.Context, index int) (string, error) {
	meta, err := m.state.part(index)
	if err != nil {
		return "", err
	}
	path := m.state.partFile(index, sealedSuffix)
	results, err := os.Open(path) //nolint:gosec // the state folder's own
	if err != nil {
		return "", fmt.Errorf("store part %d: %w", index, err)
	}
	defer results.Close() //nolint:errcheck // only read
	described := sealedPart{Version: stateVersion, Index: index, Part: meta}
	if described.Results, err = m.put(ctx, sealedKind, filepath.Base(path), results); err != nil {
		return "", err
	}
	data, err := json.Marshal(&described)
	if err != nil {
		return "", fmt.Errorf("encode part %d: %w", index, err)
	}
	description, err := m.put(ctx, sealedKind, filepath.Base(m.state.partFile(index, metaSuffix)), bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	delete(m.uploads.files, filepath.Base(m.state.partFile(index, spoolSuffix)))
	delete(m.uploads.files, filepath.Base(m.state.partFile(index, journalSuffix)))
	return description.Object, nil
}

// put stores an object under a name that is used once: an upload that was given up may still arrive.
func (m *Mirror) put(ctx context.Context, kind, name string, content io.Reader) (storedPiece, error) {
	u := &m.uploads
	u.number++
	piece := storedPiece{Object: kind + "/" + objectName(m.lease.number, u.number, name)}
	key := runKey(u.run, piece.Object)
	sum := crc32.New(castagnoli)
	counted := &counter{r: io.TeeReader(content, sum)}
	ctx, cancel := context.WithTimeout(ctx, mirrorCall)
	defer cancel()
	if err := m.bucket.Put(ctx, key, counted); err != nil {
		u.stored[key] = true
		return piece, err
	}
	piece.Bytes, piece.Sum = counted.n, sum.Sum32()
	return piece, nil
}

// counter counts the bytes that are read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// storeCheckpoint stores a checkpoint unless it says what the last one did.
func (m *Mirror) storeCheckpoint(ctx context.Context, c *checkpoint, needed map[string]bool) error {
	u := &m.uploads
	elapsed := c.Manifest.Elapsed
	c.Manifest.Elapsed = 0
	same, err := json.Marshal(c)
	c.Manifest.Elapsed = elapsed
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if bytes.Equal(same, u.last) {
		return nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	u.number++
	key := checkpointsDir + objectName(m.lease.number, u.number, u.run+metaSuffix)
	u.stored[key] = true
	putting, cancel := context.WithTimeout(ctx, mirrorCall)
	defer cancel()
	if err := m.bucket.Put(putting, key, bytes.NewReader(data)); err != nil {
		return err
	}
	u.last = same
	needed[key] = true
	m.clear(ctx, needed)
	return nil
}

// clear deletes what the newest checkpoint does not need. What can't be deleted now is tried again with the next one.
func (m *Mirror) clear(ctx context.Context, needed map[string]bool) {
	u := &m.uploads
	if !u.swept {
		left, err := m.leftovers(ctx)
		if err != nil {
			// It is looked for again with the next checkpoint.
			slog.WarnContext(ctx, "look for what is not needed in the store", slog.Any("error", err))
		} else {
			u.swept = true
			for _, key := range left {
				u.stored[key] = true
			}
		}
	}
	for key := range u.stored {
		if needed[key] {
			continue
		}
		if err := m.bucket.Delete(ctx, key); err != nil {
			if ctx.Err() == nil {
				slog.WarnContext(ctx, "delete what is not needed in the store", slog.Any("error", err))
			}
			return
		}
		delete(u.stored, key)
	}
}

// leftovers lists what holders of lower leases have left of this run's open parts, and their checkpoints. A higher
// lease's are not touched: its holder may have taken the run this moment. Nor is anything of sealed parts, which the
// checkpoint of a higher lease may name. Of rehearsals, which cost nothing, only one is kept.
func (m *Mirror) leftovers(ctx context.Context) ([]string, error) {
	u := &m.uploads
	runs := runKey(u.run, openKind+"/")
	if u.simulated {
		runs = runsDir
	}
	keys, err := m.bucket.List(ctx, runs)
	if err != nil {
		return nil, err
	}
	checkpoints, err := m.bucket.List(ctx, checkpointsDir)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, key := range keys {
		if leaseOf(key) < m.lease.number && !strings.HasPrefix(key, runKey(u.run, sealedKind+"/")) {
			left = append(left, key)
		}
	}
	for _, key := range checkpoints {
		if leaseOf(key) < m.lease.number && (u.simulated || strings.HasSuffix(key, "-"+u.run+metaSuffix)) {
			left = append(left, key)
		}
	}
	return left, nil
}
