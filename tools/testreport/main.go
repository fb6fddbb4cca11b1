// Command testreport runs `go test -json` with the arguments it is given and prints what a reader of the result
// needs: a line per package, the whole output of what failed, and at the end every test that skipped, under the
// reason it gave. A skip that nobody sees is a test that nobody runs. It exits as go test does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	command := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...) //nolint:gosec // the arguments are the developer's own
	command.Stderr = os.Stderr
	// Ctrl-C reaches go test by the process group; killing it as well would leave its children behind.
	command.Cancel = func() error { return nil }
	events, err := command.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("open pipe: %w", err)
	}
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("start go test: %w", err)
	}
	reportErr := report(events, os.Stdout)
	err = command.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), reportErr
	}
	return 0, errors.Join(err, reportErr)
}
