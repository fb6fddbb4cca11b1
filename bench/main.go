// Command bench measures the speed and memory of a batchwright binary against its goals and prints a Markdown table.
// It promises figures that carry over between machines where that can be: a ratio to a bare net/http loop that does
// the same work in the same minutes, and a ratio to the time that physics asks for. The API is the simulator, always
// a process of its own, on the same machine. A goal that is missed is shown and is no error; a run that fails, or
// that answers other than the bare loop, is one.
//
// Its command limits measures how a fleet uses limits that nobody names.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measurements are what -only chooses from, in the order in which they are taken.
var measurements = []struct {
	name    string
	measure func(context.Context, *bench) ([]figure, error)
}{
	{"startup", startup},
	{"throughput", throughput},
	{"latency", latency},
	{"memory", memory},
	{"scaling", scaling},
	{"load", load},
	{"recovery", recovery},
}

func run(ctx context.Context, args []string) error {
	if len(args) == 4 && args[0] == "bare-loop" {
		return bareLoop(ctx, args[1], args[2], args[3])
	}
	if len(args) > 0 && args[0] == "limits" {
		return limits(ctx, args[1:])
	}
	names := make([]string, len(measurements))
	for i := range measurements {
		names[i] = measurements[i].name
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	binary := flags.String("binary", "bin/batchwright", "the `program` to measure; make build makes it")
	only := flags.String("only", strings.Join(names, ","), "the `measurements` to take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen := strings.Split(*only, ",")
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no measurement is called %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		return fmt.Errorf("find %s: %w", *binary, err)
	}
	scratch, err := os.MkdirTemp("", "batchwright-bench-")
	if err != nil {
		return fmt.Errorf("create scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch) //nolint:errcheck // nothing is left to do about a folder in the temporary folder
	b := &bench{binary: path, scratch: scratch}

	var figures []figure
	for _, m := range measurements {
		if !slices.Contains(chosen, m.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s\n", m.name)
		taken, err := m.measure(ctx, b)
		if err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		figures = append(figures, taken...)
	}
	return writeTable(os.Stdout, machine(), figures)
}
