package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/batchwright/batchwright/io/store"
)

// fetchTries is how often a fetch begins again because its checkpoint was replaced meanwhile. Each time there is less
// to do, for sealed parts stay.
const fetchTries = 100

// steadyCheckpoint is newestCheckpoint, again when its holder has replaced it while it was read.
func steadyCheckpoint(ctx context.Context, bucket store.Bucket) (key string, c *checkpoint, err error) {
	for range fetchTries {
		if key, c, err = newestCheckpoint(ctx, bucket); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return key, c, err
}

// Fetch makes state, a folder with no run in it, hold what a bucket has of the newest run of the job, to be read. It
// takes no lease, and works while a coordinator carries the run on. It reports whether there is a run.
func Fetch(ctx context.Context, bucket store.Bucket, state State) (bool, error) {
	key, _, err := fetch(ctx, bucket, state, func(string) error { return nil })
	return key != "", err
}

// fetch fills a state folder that has no run with the newest checkpoint, and returns that. The manifest, which makes
// it a run, is written last, after noted was called with the checkpoint's key.
func fetch(ctx context.Context, bucket store.Bucket, state State, noted func(key string) error) (string, *checkpoint, error) {
	f := fetching{bucket: bucket, state: state}
	for tries := 1; ; tries++ {
		key, c, err := steadyCheckpoint(ctx, bucket)
		if err != nil || key == "" {
			return "", nil, err
		}
		err = f.parts(ctx, c)
		if errors.Is(err, fs.ErrNotExist) && tries < fetchTries {
			newest, _, e := steadyCheckpoint(ctx, bucket)
			if e == nil && newest != key {
				continue // pieces that this checkpoint named are not needed any more
			}
		}
		if err == nil {
			err = noted(key)
		}
		if err == nil {
			err = state.writeManifest(c.Manifest)
		}
		if err != nil {
			return "", nil, fmt.Errorf("fetch state from the store: %w", err)
		}
		return key, c, nil
	}
}

// fetching is a fetch on its way.
type fetching struct {
	bucket store.Bucket
	state  State
	run    string
	sealed map[int]string // fetched parts, by the names of their descriptions
}

// parts fetches a checkpoint's parts and tries: the open ones first, for their pieces come and go.
func (f *fetching) parts(ctx context.Context, c *checkpoint) error {
	if f.run != c.Manifest.Run {
		// What a fetch that was cut short has left, or this one of a run that was begun anew meanwhile.
		for _, name := range []string{partsDir, suspicionFile} {
			if err := os.RemoveAll(filepath.Join(f.state.Dir, name)); err != nil {
				return fmt.Errorf("clear state folder: %w", err)
			}
		}
		if err := f.state.create(); err != nil {
			return err
		}
		f.run, f.sealed = c.Manifest.Run, make(map[int]string)
	}
	for i := range c.Open {
		part := &c.Open[i]
		part.Part.Index = part.Index
		err := f.file(ctx, f.state.partFile(part.Index, spoolSuffix), part.Records)
		if err == nil {
			err = f.file(ctx, f.state.partFile(part.Index, journalSuffix), part.Journal)
		}
		if err == nil {
			err = f.state.writePart(&part.Part)
		}
		if err != nil {
			return err
		}
	}
	if len(c.Tries) > 0 {
		path := filepath.Join(f.state.Dir, triesFile)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if err := f.file(ctx, path, c.Tries); err != nil {
				return err
			}
		}
	}
	for index, description := range c.Sealed {
		if description == "" || f.sealed[index] == description {
			continue
		}
		if err := f.sealedPart(ctx, index, description); err != nil {
			return err
		}
		f.sealed[index] = description
	}
	return nil
}

// sealedPart fetches a sealed part.
func (f *fetching) sealedPart(ctx context.Context, index int, description string) error {
	data, err := readObject(ctx, f.bucket, runKey(f.run, description))
	if err != nil {
		return err
	}
	var part sealedPart
	if err = decodeVersioned(data, &part); err == nil && part.Index != index {
		err = fmt.Errorf("it describes part %d", part.Index)
	}
	if err != nil {
		return fmt.Errorf("read description of part %d: %s: %w", index, description, err)
	}
	part.Part.Index = index
	// It may have been fetched as an open one before.
	for _, suffix := range []string{spoolSuffix, journalSuffix} {
		if err := os.Remove(f.state.partFile(index, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("fetch part %d: %w", index, err)
		}
	}
	if err := f.file(ctx, f.state.partFile(index, sealedSuffix), storedFile{part.Results}); err != nil {
		return err
	}
	return f.state.writePart(&part.Part)
}

// file puts a file together from its pieces.
func (f *fetching) file(ctx context.Context, path string, pieces storedFile) error {
	file, err := store.Create(path)
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		if err := copyPiece(ctx, f.bucket, f.run, piece, file); err != nil {
			return errors.Join(err, file.Abort())
		}
	}
	if err := file.Commit(); err != nil {
		return errors.Join(err, file.Abort())
	}
	return nil
}
