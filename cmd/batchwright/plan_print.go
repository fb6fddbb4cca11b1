package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

// writePlan prints a plan for people.
func writePlan(w io.Writer, p *coordinator.Plan) error {
	var b strings.Builder
	for _, r := range p.Requests {
		fmt.Fprintf(&b, "request of record %d, %s (%s):\n", r.Number, clean(r.ID), clean(r.Where))
		if r.Problem != "" {
			fmt.Fprintf(&b, "  none: %s\n\n", clean(r.Problem))
			continue
		}
		b.WriteString(indented(r.Body) + "\n\n")
	}
	fmt.Fprintf(&b, "%s\n", clean(p.Job.Name))
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(label, value string) { _, _ = fmt.Fprintf(table, "  %s\t%s\n", label, value) } // a Builder takes all
	list := func(label string, values []string) {
		for i, value := range values {
			if i > 0 {
				label = ""
			}
			row(label, clean(value))
		}
	}
	for i := range p.Input.Files {
		file := &p.Input.Files[i]
		list("input", []string{fmt.Sprintf("%s (%s, %s)", file.Path, fileKind(string(file.Format), string(file.Compression)), formatBytes(file.Size))})
	}
	row("records", formatCount(p.Survey.Records)+because(p.Continues, formatCount(p.Done)+" done by a run that continues"))
	list("columns", []string{strings.Join(describeTypes(p.Survey.Columns), ", ")})
	if p.Input.IDColumn != "" {
		row("id", clean(p.Input.IDColumn))
	} else {
		row("id", "the record's number")
	}
	row("broken", formatCount(p.Survey.Broken)+because(p.Survey.Broken > 0, "they fail as bad_input; --strict refuses them"))
	list("", p.Survey.Problems)
	if p.Unaskable > 0 {
		row("no request", formatCount(p.Unaskable)+" (they fail as bad_input; --strict refuses them)")
		list("", p.UnaskableAt)
	}
	list("same id", p.Survey.Duplicates)
	list("illegal id", p.Survey.IllegalIDs)
	list("warning", p.Warnings)
	for _, line := range forecastLines(&p.Forecast) {
		row(line[0], line[1])
	}
	row("output", p.Output)
	if len(p.Columns) > 0 {
		list("columns", []string{strings.Join(p.Columns.Names(), ", ")})
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	for _, refusal := range p.Refusals[min(1, len(p.Refusals)):] {
		fmt.Fprintf(&b, "run would refuse this job: %s\n", refusal)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

func forecastLines(f *coordinator.Forecast) [][2]string {
	guess := "a guess until a try has shown how long answers are"
	if f.OutputKnown {
		guess = "as in the tries so far"
	}
	lines := [][2]string{{"tokens", fmt.Sprintf("about %s in, %s out (%s)", formatTokens(f.Input), formatTokens(f.Output), guess)}}
	if f.Priced {
		lines = append(lines, [2]string{"cost", fmt.Sprintf("about %s; at most %s if every answer is as long as max_tokens",
			formatDollars(f.Cost), formatDollars(f.Most))})
	} else {
		lines = append(lines, [2]string{"cost", "unknown: the model has no list price"})
	}
	if f.Time > 0 {
		lines = append(lines, [2]string{"time", "at least " + formatTime(f.Time) + " within the job's limits"})
	} else {
		lines = append(lines, [2]string{"time", "unknown: it is up to the API's rate limits; try shows how long answers take"})
	}
	return lines
}

// indented is a request for people to read. Its text is made safe for a terminal.
func indented(body json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, body, "  ", "  "); err != nil {
		return clean(string(body)) // a request is always JSON
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return "  " + strings.Join(lines, "\n")
}

func typesOf(schema jobs.Schema) []plannedType {
	types := make([]plannedType, len(schema))
	for i := range schema {
		types[i] = plannedType{schema[i].Name, typeName(schema[i].Type)}
	}
	return types
}

func describeTypes(schema jobs.Schema) []string {
	texts := make([]string, len(schema))
	for i, t := range typesOf(schema) {
		texts[i] = t.Name + " " + t.Type
	}
	return texts
}

// typeName names a type in a few words: list of string, decimal(18,9).
func typeName(t jobs.Type) string {
	switch t.Kind {
	case jobs.KindList, jobs.KindMap:
		if t.Element != nil {
			return string(t.Kind) + " of " + typeName(*t.Element)
		}
	case jobs.KindDecimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	default:
	}
	return string(t.Kind)
}

func fileKind(format, compression string) string {
	if compression == "" {
		return format
	}
	return format + ", " + compression
}

// formatBytes writes a size in three digits or so.
func formatBytes(n int64) string {
	const k = 1000
	switch {
	case n < k:
		return fmt.Sprintf("%d bytes", n)
	case n < k*k:
		return fmt.Sprintf("%.1f kB", float64(n)/k)
	case n < k*k*k:
		return fmt.Sprintf("%.1f MB", float64(n)/k/k)
	default:
		return fmt.Sprintf("%.1f GB", float64(n)/k/k/k)
	}
}
