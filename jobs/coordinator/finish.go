package coordinator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/internal/crashpoint"
	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs"
)

// sealIfComplete sends a part whose records all have results to be written. The caller holds the mutex.
func (r *Run) sealIfComplete(p *part) {
	if p.complete() && !p.sealing {
		p.sealing = true
		r.finishing = append(r.finishing, p)
		r.changed.Broadcast()
	}
}

// finish writes complete parts, one at a time, once the output's columns are settled.
func (r *Run) finish(ctx context.Context) error {
	stop := context.AfterFunc(ctx, r.wake)
	defer stop()
	for {
		r.mu.Lock()
		for ctx.Err() == nil && (len(r.finishing) == 0 || r.layout == nil) {
			r.changed.Wait()
		}
		if ctx.Err() != nil {
			r.mu.Unlock()
			return nil
		}
		p := r.finishing[0]
		r.finishing = r.finishing[1:]
		r.mu.Unlock()
		err := r.mirror.confirm(ctx)
		if err == nil {
			err = r.persist(ctx, func() error { return r.seal(p) })
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("write part %d: %w", p.meta.Index, err)
		}
	}
}

// seal writes a part to the output and its results to the sealed journal, in input order, and then drops the open
// part. Done again after a crash at any point it writes the same.
func (r *Run) seal(p *part) error {
	if err := p.spool.Flush(); err != nil {
		return fmt.Errorf("flush records: %w", err)
	}
	output, err := store.Create(r.partOutput(p.meta.Index))
	if err != nil {
		return fmt.Errorf("create output: %w", err)
	}
	journal, err := store.Create(r.state.partFile(p.meta.Index, sealedSuffix))
	if err != nil {
		return errors.Join(fmt.Errorf("create sealed journal: %w", err), output.Abort())
	}
	if err := r.writePart(p, output, journal); err != nil {
		return errors.Join(err, output.Abort(), journal.Abort())
	}
	crashpoint.Reach("part written")
	if err := journal.Commit(); err != nil {
		return errors.Join(fmt.Errorf("seal journal: %w", err), output.Abort())
	}
	crashpoint.Reach("results sealed")
	if err := output.Commit(); err != nil {
		return fmt.Errorf("publish output: %w", err)
	}
	crashpoint.Reach("part visible")
	meta := p.meta
	meta.Sealed, meta.Tally = true, p.tally
	if err := r.state.writePart(&meta); err != nil {
		return err
	}
	crashpoint.Reach("part sealed")
	r.mu.Lock()
	delete(r.parts, p.meta.Index)
	r.seen.sealed(&meta)
	r.changed.Broadcast()
	r.mu.Unlock()
	return p.remove()
}

var newline = []byte{'\n'}

// writePart writes the part's rows and its results in order.
func (r *Run) writePart(p *part, output, sealed io.Writer) error {
	buffered := bufio.NewWriterSize(output, 1<<18)
	rows, err := sink.NewWriter(buffered, r.manifest.Format, r.layout.Schema())
	if err != nil {
		return fmt.Errorf("begin output: %w", err)
	}
	// The fastest level: sealing shares the cores with the calls.
	compressed, err := zstd.NewWriter(sealed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(512<<10))
	if err != nil {
		return fmt.Errorf("begin sealed journal: %w", err)
	}
	var row []jobs.Member
	number := p.meta.First
	err = p.spool.Scan(func(_ int64, spooled []byte) error {
		record, err := parseRecord(number, spooled)
		if err != nil {
			return err
		}
		result, entry, err := p.result(number)
		if err != nil {
			return err
		}
		_, err = compressed.Write(entry)
		if err == nil {
			_, err = compressed.Write(newline)
		}
		if err != nil {
			return fmt.Errorf("write sealed journal: %w", err)
		}
		r.input.label(&record)
		row = r.layout.Row(&record, &result, row[:0])
		if err := rows.Write(row); err != nil {
			return fmt.Errorf("write record %d: %w", number, err)
		}
		number++
		return nil
	})
	if err != nil {
		return err
	}
	if err := compressed.Close(); err != nil {
		return fmt.Errorf("write sealed journal: %w", err)
	}
	if err := rows.Close(); err != nil {
		return fmt.Errorf("end output: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// partOutput names the file that a part's rows go to: in the output folder, or in the state folder until all parts
// make one file.
func (r *Run) partOutput(index int) string {
	if r.manifest.folder() {
		return filepath.Join(r.manifest.Output, partName(index, r.manifest.Format))
	}
	return r.state.partFile(index, outputSuffix)
}

// finishRun makes the single output file, where there is to be one, and marks the run as complete.
func (r *Run) finishRun(ctx context.Context) error {
	if err := r.mirror.confirm(ctx); err != nil {
		return err
	}
	if err := r.persist(ctx, func() error { return r.restoreOutputs(ctx) }); err != nil {
		return err
	}
	if !r.manifest.folder() {
		if err := r.persist(ctx, r.assemble); err != nil {
			return fmt.Errorf("write %s: %w", r.manifest.Output, err)
		}
	} else if r.nextPart == 0 {
		// An empty input still gives an output of the right shape.
		if err := r.persist(ctx, r.writeEmpty); err != nil {
			return fmt.Errorf("write %s: %w", r.manifest.Output, err)
		}
	}
	crashpoint.Reach("output visible")
	r.mu.Lock()
	r.manifest.Finished = time.Now().UTC()
	r.mu.Unlock()
	if err := r.saveManifest(); err != nil {
		return err
	}
	if err := r.owner.Erase(ctx); err != nil {
		slog.WarnContext(ctx, "erase run from redis", slog.Any("error", err))
	}
	for i := range r.nextPart {
		if !r.manifest.folder() {
			if err := os.Remove(r.partOutput(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
				slog.WarnContext(ctx, "remove part of output", slog.Any("error", err))
			}
		}
	}
	return nil
}

// assemble makes one file of the parts, visible at once.
func (r *Run) assemble() error {
	parts := make([]string, r.nextPart)
	for i := range parts {
		parts[i] = r.partOutput(i)
	}
	output, err := store.Create(r.manifest.Output)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(output, 1<<20)
	if err := sink.Concat(buffered, r.manifest.Format, r.layout.Schema(), parts); err != nil {
		return errors.Join(err, output.Abort())
	}
	if err := buffered.Flush(); err != nil {
		return errors.Join(err, output.Abort())
	}
	crashpoint.Reach("output assembled")
	return output.Commit()
}

func (r *Run) writeEmpty() error {
	output, err := store.Create(r.partOutput(0))
	if err != nil {
		return err
	}
	rows, err := sink.NewWriter(output, r.manifest.Format, r.layout.Schema())
	if err == nil {
		err = rows.Close()
	}
	if err != nil {
		return errors.Join(err, output.Abort())
	}
	return output.Commit()
}
