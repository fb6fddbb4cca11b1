package coordinator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs"
)

// restoreOutputs writes again the outputs of sealed parts that are not there: a store keeps results and no outputs,
// which follow from the results and the input.
func (r *Run) restoreOutputs(ctx context.Context) error {
	parts, err := r.state.Parts()
	if err != nil {
		return err
	}
	results := &Results{State: r.state, Manifest: r.manifest, Parts: parts}
	for index := range parts {
		_, err := os.Stat(r.partOutput(index))
		if errors.Is(err, fs.ErrNotExist) {
			slog.InfoContext(ctx, "writing the output of a part again", slog.Int("part", index))
			err = r.restoreOutput(ctx, results, index)
		}
		if err != nil {
			return fmt.Errorf("output of part %d: %w", index, err)
		}
	}
	return nil
}

func (r *Run) restoreOutput(ctx context.Context, results *Results, index int) error {
	output, err := store.Create(r.partOutput(index))
	if err != nil {
		return err
	}
	if err := r.writeAgain(ctx, results, index, output); err != nil {
		return errors.Join(err, output.Abort())
	}
	if err := output.Commit(); err != nil {
		return errors.Join(err, output.Abort())
	}
	return nil
}

// writeAgain writes a part's rows from its results and the input.
func (r *Run) writeAgain(ctx context.Context, results *Results, index int, output *store.File) (err error) {
	buffered := bufio.NewWriterSize(output, 1<<18)
	rows, err := sink.NewWriter(buffered, r.manifest.Format, r.layout.Schema())
	if err != nil {
		return fmt.Errorf("begin output: %w", err)
	}
	cursor := &inputCursor{input: r.input, parts: results.Parts}
	defer func() { err = errors.Join(err, cursor.close()) }()
	var row []jobs.Member
	next := results.Parts[index].First
	for result, err := range results.Part(index) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if result.Record != next {
			break
		}
		record, err := cursor.record(index, next)
		if err != nil {
			return err
		}
		row = r.layout.Row(&record, &result, row[:0])
		if err := rows.Write(row); err != nil {
			return fmt.Errorf("write record %d: %w", next, err)
		}
		next++
	}
	if want := results.Parts[index].First + int64(results.Parts[index].Records); next != want {
		return fmt.Errorf("the sealed journal has no result of record %d", next)
	}
	if err := rows.Close(); err != nil {
		return fmt.Errorf("end output: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
