package coordinator

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"strconv"

	"github.com/batchwright/batchwright/io/store"
)

// The store of a job, specified in docs/format.md. Every name but a lease's is used once, and carries the number of
// the lease under which it was stored and a number that counts on under that lease:
//
//	lease/LEASE
//	checkpoints/LEASE/NUMBER-RUN.json
//	runs/RUN/open/LEASE/NUMBER-…      pieces of open parts' files: deleted when no checkpoint needs them
//	runs/RUN/sealed/LEASE/NUMBER-…    sealed parts: deleted by rm alone
const (
	checkpointsDir = "checkpoints/"
	runsDir        = "runs/"
	openKind       = "open"
	sealedKind     = "sealed"
)

// checkpoint is a whole state of a run: all that it names is in the store.
type checkpoint struct {
	Version  int       `json:"version"`
	Manifest *Manifest `json:"manifest"`
	Done     int64     `json:"done"` // results that it holds
	// Sealed names for each part the object that describes it (sealedPart); it is empty for an open part.
	Sealed []string     `json:"sealed,omitempty"`
	Open   []storedOpen `json:"open,omitempty"`
	Tries  storedFile   `json:"tries,omitempty"`
}

// storedOpen is an open part: its files are the pieces in their order.
type storedOpen struct {
	Index   int        `json:"index"`
	Part    PartMeta   `json:"part"`
	Records storedFile `json:"records"`
	Journal storedFile `json:"journal"`
}

// sealedPart describes a sealed part.
type sealedPart struct {
	Version int         `json:"version"`
	Index   int         `json:"index"`
	Part    PartMeta    `json:"part"`
	Results storedPiece `json:"results"`
}

// storedFile is a file in pieces.
type storedFile []storedPiece

// storedPiece is an object with consecutive bytes of a file.
type storedPiece struct {
	Object string `json:"object"` // its key below runs/RUN/
	Bytes  int64  `json:"bytes"`
	Sum    uint32 `json:"crc32c"`
}

// size is the number of bytes stored of the file.
func (f storedFile) size() (n int64) {
	for _, piece := range f {
		n += piece.Bytes
	}
	return n
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func runKey(run, object string) string { return runsDir + run + "/" + object }

// objectName names the object of a number under a lease.
func objectName(lease, number int, name string) string {
	return fmt.Sprintf("%08d/%010d-%s", lease, number, name)
}

// leaseOf is the number of the lease under which a key was stored; 0 for a key without one.
func leaseOf(key string) int {
	number, err := strconv.Atoi(path.Base(path.Dir(key)))
	if err != nil {
		return 0
	}
	return number
}

// newestCheckpoint reads the checkpoint of the highest lease, and of those the one of the highest number. Its key is
// empty when there is none. The error is fs.ErrNotExist when its holder has replaced it at that moment.
func newestCheckpoint(ctx context.Context, bucket store.Bucket) (key string, c *checkpoint, err error) {
	keys, err := bucket.List(ctx, checkpointsDir)
	if err != nil {
		return "", nil, fmt.Errorf("look for a run in the store: %w", err)
	}
	if len(keys) == 0 {
		return "", nil, nil
	}
	key = keys[len(keys)-1] // they are sorted, and their numbers have the same lengths
	data, err := readObject(ctx, bucket, key)
	if err != nil {
		return "", nil, fmt.Errorf("read state in the store: %w", err)
	}
	c = &checkpoint{}
	if err = decodeVersioned(data, c); err == nil && (c.Manifest == nil || c.Manifest.Version != stateVersion) {
		err = errors.New("its manifest is of another format version: use the batchwright that wrote it")
	}
	if err != nil {
		return "", nil, fmt.Errorf("read state in the store: %s: %w", key, err)
	}
	return key, c, nil
}

// copyPiece reads a piece and checks that it is what was stored.
func copyPiece(ctx context.Context, bucket store.Bucket, run string, piece storedPiece, to io.Writer) (err error) {
	object, err := bucket.Get(ctx, runKey(run, piece.Object))
	if err != nil {
		return err
	}
	defer object.Close() //nolint:errcheck // only read
	sum := crc32.New(castagnoli)
	n, err := io.Copy(to, io.TeeReader(object, sum))
	if err != nil {
		return fmt.Errorf("copy %s: %w", piece.Object, err)
	}
	if n != piece.Bytes || sum.Sum32() != piece.Sum {
		return fmt.Errorf("%s in the store is damaged: it has %d bytes with checksum %08x, and %d with %08x were stored",
			piece.Object, n, sum.Sum32(), piece.Bytes, piece.Sum)
	}
	return nil
}
