package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/batchwright/batchwright/io/store"
)

// RemoveStored deletes all that a bucket holds of a job, the runs that --fresh set aside included. *HeldError while a
// run uses it. The mark of the last lease stays, so that no number is used twice: a process that was stopped while it
// held the run must find out when it wakes up.
func RemoveStored(ctx context.Context, bucket store.Bucket, state State) (err error) {
	if state.exists() {
		lock, err := state.Lock() // no run of this machine holds the lease then
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	note, err := state.claimNote(ctx, bucket)
	if err != nil {
		return err
	}
	l, err := takeLease(ctx, bucket, note.ID, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close(ctx)) }()
	// Checkpoints first, so that a deletion that is cut short leaves nothing that looks like a run.
	for _, prefix := range []string{checkpointsDir, runsDir, leaseDir} {
		keys, err := bucket.List(ctx, prefix)
		if err != nil {
			return fmt.Errorf("remove state from the store: %w", err)
		}
		for _, key := range keys {
			if key >= leaseKey(l.number) && prefix == leaseDir {
				continue
			}
			if err := bucket.Delete(ctx, key); err != nil {
				return fmt.Errorf("remove state from the store: %w", err)
			}
		}
	}
	return nil
}
