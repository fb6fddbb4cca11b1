package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func (l *statusLine) write(w io.Writer) error {
	if l.State == "unreadable" {
		_, err := fmt.Fprintf(w, "run %s: %s\n", clean(l.RunID), l.Why)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", l.run.name(), l.State)
	if l.Why != "" {
		fmt.Fprintf(&b, " (%s)", clean(l.Why))
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(label, value string) { _, _ = fmt.Fprintf(table, "  %s\t%s\n", label, value) } // a Builder takes all
	rows := func(label string, values []string) {
		for _, value := range values {
			row(label, value)
			label = ""
		}
	}
	progress := formatCount(l.Done)
	if l.Records > 0 {
		progress += fmt.Sprintf(" of %s (%d%%)", formatCount(l.Records), percent(l.Done, l.Records))
		if !l.Counted {
			progress += " counted so far"
		}
	}
	row("records", progress)
	if l.run.view.Owned { // else it was one
		rate := formatRate(l.Rate)
		if l.ETA != nil {
			rate += ", done in " + formatTime(time.Duration(*l.ETA)*time.Second)
		}
		row("rate", rate)
	}
	row("failed", formatCount(l.Failed)+because(l.Failed > 0, (&summary{FailedByReason: l.Reasons}).reasons()))
	s := &l.run.status
	spend := summary{Priced: s.Priced, Cost: s.Cost}.cost()
	if s.Budget > 0 {
		spend += " of " + formatDollars(s.Budget)
	}
	row("cost", spend)
	if l.Repeats+l.Unknown > 0 {
		row("paid twice", fmt.Sprintf("%s, and at most %s that a kill left unknown", formatCount(l.Repeats), formatCount(l.Unknown)))
	}
	row("calls", fmt.Sprintf("%s in flight, of %s handed out", formatCount(int64(l.InFlight)), formatNumber(int64(l.Outstanding), "record")))
	if len(l.Limits) > 0 || l.run.view.Owned {
		rows("limits", limitsTexts(l.Limits))
	}
	if l.Coordinator == "" {
		row("coordinator", "has said nothing yet")
	} else {
		row("coordinator", fmt.Sprintf("%s, heard %s ago", clean(l.Coordinator), formatTime(time.Duration(l.Age*1e9))))
	}
	workers := make([]string, len(l.Workers))
	for i := range l.Workers {
		workers[i] = l.Workers[i].text()
	}
	rows("workers", workers)
	row("api", clean(l.API))
	if l.Weight != 1 {
		row("weight", strconv.FormatFloat(l.Weight, 'g', -1, 64))
	}
	if l.Encrypted {
		row("redis", "prompts and answers are encrypted")
	}
	if s.Output != "" {
		row("output", fmt.Sprintf("%s on %s", clean(s.Output), clean(s.Host)))
	}
	row("run", clean(l.RunID))
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *workerLine) text() string {
	text := fmt.Sprintf("%s: %d of %d calls in flight", clean(l.Worker), l.InFlight, l.Slots)
	if l.Waiting > 0 {
		text += fmt.Sprintf(", %s waiting", formatNumber(int64(l.Waiting), "record"))
	}
	if l.Refused != "" {
		text += ": " + clean(l.Refused)
	}
	if l.Why != "" {
		text += ": " + clean(l.Why)
	}
	return text
}
