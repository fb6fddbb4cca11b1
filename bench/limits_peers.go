package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

// peerRecords is how many records each is given.
const peerRecords = 2000

// peerQuotas are requests a minute; peerCalls is how many calls at once ask more of both.
var peerQuotas = []int64{3000, 12_000}

const (
	peerCalls   = concurrency
	guessedSafe = 8 // calls at once that people guess to be safe
)

// peerFigure is what one way to do the same work came to.
type peerFigure struct {
	quota          int64
	who            string
	answered, lost int64
	calls, refused int64
	took           time.Duration
}

// peerAPI enforces the quota over a second, as the service says it may: otherwise a full bucket of ten seconds lets all of
// the records through at the higher quota.
func peerAPI(quota int64) simulator.Options {
	return simulator.Options{RequestsPerMinute: quota, Burst: time.Second, Latency: limitsLatency, LatencySigma: limitsSigma}
}

// peersName is what -scenario chooses the peers of a quota by.
func peersName(quota int64) string { return fmt.Sprintf("peers/%d", quota) }

// peersAt holds batchwright with one worker against what people write, on the same records at the same quota.
func (b *bench) peersAt(ctx context.Context, quota int64) ([]peerFigure, error) {
	load := bases()[0].workload
	records := slices.Collect(load.records(peerRecords))
	var figures []peerFigure
	for _, goroutines := range []int{peerCalls, guessedSafe} {
		api, err := simulator.Listen(ctx, "127.0.0.1:0", peerAPI(quota))
		if err != nil {
			return figures, err
		}
		began := time.Now()
		answered, lost, err := sdkLoop(ctx, api.URL, records, goroutines)
		figure := peerFigure{quota: quota, who: fmt.Sprintf("a loop over the Go SDK, %d calls at once", goroutines), answered: answered, lost: lost, took: time.Since(began)}
		figure.count(api.Stats())
		if err := errors.Join(err, api.Close()); err != nil {
			return figures, err
		}
		figures = append(figures, figure)
	}
	own, err := b.peerRun(ctx, quota, load)
	return append(figures, own), err
}

func (f *peerFigure) count(stats simulator.Stats) { f.calls, f.refused = stats.Calls, stats.Refused }

// peerRun does the same with batchwright: a coordinator, a worker and a Redis.
func (b *bench) peerRun(ctx context.Context, quota int64, load workload) (_ peerFigure, err error) {
	figure := peerFigure{quota: quota, who: fmt.Sprintf("batchwright, a worker of %d calls", peerCalls)}
	folder, err := os.MkdirTemp(b.scratch, "peers-")
	if err != nil {
		return figure, fmt.Errorf("create job folder: %w", err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // in the scratch folder
	if err := load.write(filepath.Join(folder, inputName), peerRecords); err != nil {
		return figure, err
	}
	began := time.Now()
	f, err := b.startLimitsFleet(ctx, folder, peerAPI(quota), 1, peerCalls)
	if err != nil {
		return figure, err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	select {
	case <-f.run.ended:
	case <-time.After(10 * time.Minute):
		return figure, errors.New("the run did not end within 10 minutes")
	case <-ctx.Done():
		return figure, ctx.Err()
	}
	figure.took = time.Since(began)
	figure.count(f.api.Stats())
	figure.answered, figure.lost, err = countOutcomes(filepath.Join(folder, outputName))
	if err != nil {
		err = errors.Join(err, f.run.endedEarly())
	}
	return figure, err
}

// countOutcomes counts the succeeded records of an output and the others.
func countOutcomes(path string) (answered, lost int64, err error) {
	file, err := os.Open(path) //nolint:gosec // a path in the scratch folder
	if err != nil {
		return 0, 0, fmt.Errorf("open output: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if gjson.GetBytes(lines.Bytes(), "_status").Str == "succeeded" {
			answered++
		} else {
			lost++
		}
	}
	return answered, lost, lines.Err()
}

func writePeersTable(w io.Writer, figures []peerFigure) error {
	rows := [][]string{{"quota", "who", "records answered", "records lost", "calls", "refused", "time"}}
	for _, f := range figures {
		all := max(1, float64(f.answered+f.lost))
		rows = append(rows, []string{
			fmt.Sprintf("%d/min", f.quota), f.who, fmt.Sprint(f.answered),
			fmt.Sprintf("%d (%.1f %%)", f.lost, 100*float64(f.lost)/all), fmt.Sprint(f.calls),
			fmt.Sprintf("%d (%.1f %%)", f.refused, 100*float64(f.refused)/max(1, float64(f.calls))),
			fmt.Sprintf("%.1f s", f.took.Seconds()),
		})
	}
	return writeRows(w, rows)
}
