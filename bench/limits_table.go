package main

import (
	"fmt"
	"io"
	"strings"
)

// met reports whether a figure reaches its scenario's goals.
func (f limitFigure) met() bool {
	return f.used >= f.scenario.goals.used && f.refused <= f.scenario.goals.refused &&
		(!f.scenario.fast || f.exchanges <= mostExchanges(f.workers))
}

// mostExchanges is the goal for round trips to Redis a call, at 1,000 calls a second.
func mostExchanges(workers int) float64 {
	if workers == 1 {
		return 0.05
	}
	return 0.2
}

// cells are the columns of a figure's row.
func (f limitFigure) cells() []string {
	goal := fmt.Sprintf("refused ≤ %s", percent(f.scenario.goals.refused))
	if f.scenario.goals.used > 0 {
		goal = fmt.Sprintf("used ≥ %.2f, ", f.scenario.goals.used) + goal
	}
	refused := percent(f.refused)
	if f.scenario.other {
		refused += fmt.Sprintf(" (the other user's: %s)", percent(f.otherRefused))
	}
	if f.scenario.fast {
		goal += fmt.Sprintf(", round trips ≤ %.2f", mostExchanges(f.workers))
	}
	verdict := "met"
	if !f.met() {
		verdict = "**missed**"
	}
	return []string{
		f.scenario.name, fmt.Sprint(f.workers), fmt.Sprintf("%.3f", f.used), fmt.Sprintf("%.3f", f.later), fmt.Sprintf("%.2f", f.worst), refused,
		fmt.Sprintf("%.3f", f.exchanges), goal, verdict,
	}
}

func writeLimitsTable(w io.Writer, figures []limitFigure) error {
	rows := [][]string{{"scenario", "workers", "share of quota used", "in the second half", "in the worst 10 s", "share of calls refused", "round trips to Redis for the limits, a call", "goal", ""}}
	for _, f := range figures {
		rows = append(rows, f.cells())
	}
	return writeRows(w, rows)
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// writeRows writes a Markdown table; the first row is its head.
func writeRows(w io.Writer, rows [][]string) error {
	var table strings.Builder
	for i, row := range rows {
		table.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			table.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	if _, err := io.WriteString(w, table.String()+"\n"); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}
