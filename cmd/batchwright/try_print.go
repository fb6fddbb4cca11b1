package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

// tryScreen prints records as they are answered.
type tryScreen struct {
	out    io.Writer
	asJSON bool
	style  style
}

func isTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

// bright is the ANSI code beside those of the progress lines.
const bright = "1"

func (s *tryScreen) paint(colour, text string) string {
	if !s.style.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// show prints one record.
func (s *tryScreen) show(t coordinator.Tried) error {
	record := answeredRecord{result: t.Result, request: t.Request, reused: t.Reused, before: t.Before, changed: t.Changed}
	if s.asJSON {
		return writeLine(s.out, record.line())
	}
	r := &t.Result
	var b strings.Builder
	fmt.Fprintf(&b, "%s", s.paint(bright, clean(r.ID)))
	if t.Reused {
		b.WriteString("  reused")
	}
	b.WriteByte('\n')
	if t.Request != nil {
		block(&b, "prompt", excerpt(promptOf(t.Request)))
	}
	if r.Message != nil {
		block(&b, "answer", answerLines(r))
	}
	if r.Status != jobs.Succeeded {
		block(&b, "", []string{s.paint(red, statusOf(r))})
	}
	if t.Changed {
		block(&b, "changed", s.difference(t.Before, r))
	}
	if r.Calls > 0 {
		block(&b, "", []string{fmt.Sprintf("%s tokens in, %s out, %s",
			formatCount(r.Usage.Input+r.Usage.CacheRead+r.Usage.CacheWrite()), formatCount(r.Usage.Output), costOf(r))})
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(s.out, b.String()); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// difference tells what an answer was and what it is.
func (s *tryScreen) difference(before, now *jobs.Result) []string {
	var lines []string
	if before.Status != now.Status {
		lines = append(lines, fmt.Sprintf("%s → %s", statusOf(before), statusOf(now)))
	}
	old, current := jobs.Text(before.Message), jobs.Text(now.Message)
	if members, ok := coordinator.DiffMembers(old, current); ok {
		for _, m := range members {
			from, to := strings.Join(excerpt(readable(m.Before)), " "), strings.Join(excerpt(readable(m.After)), " ")
			lines = append(lines, fmt.Sprintf("%s: %s → %s", clean(m.Name), s.paint(red, from), s.paint(green, to)))
		}
		return lines
	}
	var words []string
	for _, edit := range coordinator.DiffWords(old, current) {
		switch edit.Kind {
		case coordinator.EditRemoved:
			words = append(words, s.paint(red, "[-"+clean(edit.Text)+"-]"))
		case coordinator.EditAdded:
			words = append(words, s.paint(green, "{+"+clean(edit.Text)+"+}"))
		default:
			words = append(words, clean(edit.Text))
		}
	}
	switch {
	case len(words) > 0:
		lines = append(lines, strings.Join(words, " "))
	case old != current:
		lines = append(lines, "in white space alone, or far down")
	}
	return lines
}

// writeTryEnd prints what a try has come to, and what the whole input would.
func writeTryEnd(w io.Writer, job *jobs.Job, o *coordinator.TryOutcome, simulated bool) error {
	t := &o.Tally
	var b strings.Builder
	fmt.Fprintf(&b, "%s: tried %d of %s records\n", clean(job.Name), t.Done(), formatCount(o.Total))
	if o.Blocked != "" {
		fmt.Fprintf(&b, "  blocked: %s\n", clean(o.Blocked))
	}
	if simulated {
		b.WriteString("  simulated: no real call was made\n")
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(label, value string) { _, _ = fmt.Fprintf(table, "  %s\t%s\n", label, value) } // a Builder takes all
	failures := summary{FailedByReason: t.Failed}
	row("succeeded", formatCount(t.Succeeded)+because(t.Reused > 0, formatCount(t.Reused)+" answers reused"))
	row("failed", formatCount(t.Done()-t.Succeeded)+because(t.Done() > t.Succeeded, failures.reasons()))
	if o.Compared > 0 {
		row("changed", fmt.Sprintf("%d of %d answers changed", o.Changed, o.Compared))
	}
	row("tokens", fmt.Sprintf("%s in, %s out", formatCount(t.Usage.Input+t.Usage.CacheRead+t.Usage.CacheWrite()), formatCount(t.Usage.Output)))
	row("cost", dollars(t.Cost, t.Unpriced == 0)+because(t.Reused > 0 && t.Unpriced == 0, formatDollars(o.Paid)+" of it new"))
	if p := o.Projected; p.Records > 0 && t.Usage != (jobs.Usage{}) {
		row("projected", fmt.Sprintf("all %s records: %s tokens in, %s out, %s, about %s", formatCount(p.Records),
			formatTokens(p.Input), formatTokens(p.Output), dollars(p.Cost, p.Priced), formatTime(p.Time)))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write totals: %w", err)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write totals: %w", err)
	}
	return nil
}

// dollars is an amount for people, or that it is not known.
func dollars(n jobs.Nanodollars, priced bool) string {
	if !priced {
		return "cost unknown"
	}
	return formatDollars(n)
}
