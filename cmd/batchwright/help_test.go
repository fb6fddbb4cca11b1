package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/worker/messages"
)

// The help of a command shows the flags that mean something to it.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, command := range newRootCommand().Commands() {
		name := command.Name()
		var shown []string
		command.Flags().VisitAll(func(flag *pflag.Flag) {
			if !flag.Hidden {
				shown = append(shown, flag.Name)
			}
			if flag.Name == "simulate" && strings.Contains(flag.Usage, "NAME.simulated") == slices.Contains([]string{"run", "try", "plan"}, name) {
				t.Errorf("%s --simulate: %s", name, flag.Usage)
			}
		})
		if slices.ContainsFunc(shown, func(flag string) bool { return strings.HasPrefix(flag, "sim-") }) {
			t.Errorf("%s shows flags of the simulator: %q", name, shown)
		}
		looks := slices.Contains([]string{"status", "pause", "resume", "stop", "verify", "rm"}, name)
		if looks && (slices.Contains(shown, "set") || command.Flags().Lookup("encrypt-env") != nil) {
			t.Errorf("%s shows %q", name, shown)
		}
		if slices.Contains([]string{"run", "show", "worker"}, name) != slices.Contains(shown, "encrypt-env") {
			t.Errorf("%s shows %q", name, shown)
		}
		if slices.Contains([]string{"pause", "resume", "stop"}, name) && !strings.Contains(command.Example, "batchwright "+name+" job.yaml") {
			t.Errorf("%s has the examples %q", name, command.Example)
		}
	}
}

// A command that does not exist points to those that do.
func TestUnknownCommand(t *testing.T) {
	t.Parallel()
	root := newRootCommand()
	root.SetArgs([]string{"version"})
	err := root.Execute()
	if err == nil || exitCodeOf(err) != exitUsage || !strings.Contains(hintOf(err), "--version") || !strings.Contains(hintOf(err), "--help") {
		t.Errorf("%v%s", err, hintOf(err))
	}
	if hint := hintOf(errors.New("disk full")); hint != "" {
		t.Errorf("a hint at all: %q", hint)
	}
}

// A worker has no simulator in its process to point to.
func TestWorkerWithoutKey(t *testing.T) {
	t.Parallel()
	_, err := messages.ReadSecret(func(string) string { return "" }, "GATEWAY_KEY")
	text := (&workerFlags{keyEnv: "GATEWAY_KEY"}).keyless(err).Error()
	if strings.Contains(text, "--simulate") || !strings.Contains(text, "GATEWAY_KEY") || !strings.Contains(text, "batchwright simulate") {
		t.Error(text)
	}
	other := errors.New("read credential: it is empty")
	if got := (&workerFlags{}).keyless(other); !errors.Is(got, other) {
		t.Error(got)
	}
}

// Who finds no worker reads what a worker of this run needs.
func TestNoWorkers(t *testing.T) {
	t.Parallel()
	holds(t, noWorkers("https://gateway.example", true), "--base-url https://gateway.example", "the same --encrypt-env")
	if text := noWorkers("https://gateway.example", false); strings.Contains(text, "encrypt") {
		t.Error(text)
	}
	for n, want := range map[int64]string{0: "0 records", 1: "1 record", 1234: "1,234 records"} {
		if got := formatNumber(n, "record"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
