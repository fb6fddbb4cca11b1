package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// figure is one line of the table.
type figure struct {
	measure, value, goal string
	met                  bool
}

func writeTable(w io.Writer, machine string, figures []figure) error {
	var table strings.Builder
	fmt.Fprintf(&table, "%s\n\n| measure | figure | goal | |\n|---|---|---|---|\n", machine)
	for _, f := range figures {
		verdict := "met"
		if !f.met {
			verdict = "**missed**"
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", f.measure, f.value, f.goal, verdict)
	}
	if _, err := io.WriteString(w, table.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// machine describes where the figures were taken, as far as the system tells.
func machine() string {
	cpu, memory := "", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		cpu = field(string(text), "model name")
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(field(string(text), "MemTotal"), "%d", &kb); err == nil {
			memory = fmt.Sprintf(", %.0f GB", float64(kb)/1e6)
		}
	}
	if cpu == "" {
		cpu = "unknown processor"
	}
	return fmt.Sprintf("%s, %d cores%s, %s/%s, %s", cpu, runtime.NumCPU(), memory, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// field finds "name : value" in a file of /proc.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
