package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Layout says which columns the output of a job has and fills them. It is safe for concurrent use.
//
// The columns are, in this order: those kept of the input, those of the answer, those that columns.add names, and
// those that tell how the record ended (_status and on). With an answer schema its top-level properties are columns,
// filled when the record succeeded, and response has the text of an answer that failed (refused, truncated, invalid)
// and is null otherwise; without one, response has the text of every answer. The prefix goes before every column
// that is not the input's.
//
// A job in the Message Batches format has that service's result lines instead: custom_id and result.
type Layout struct {
	job *Job
	// keep are the names of the kept columns; nil keeps all that a record has.
	keep   []string
	schema Schema
	// added are the columns that are not the input's, in order.
	added   []addedColumn
	isAdded map[string]bool
	batches bool
}

// addedColumn is a column that batchwright fills.
type addedColumn struct {
	column Column
	fill   func(dst []byte, a *answered) []byte
}

// Layout settles the columns of the output. input are the input's columns, nil when they are not known yet: then the
// layout's schema lacks them, and Check finds what this does not. An error says which column stands twice or does not
// exist.
func (j *Job) Layout(input Schema, batches bool) (*Layout, error) {
	if batches {
		return &Layout{job: j, schema: batchSchema, batches: true}, nil
	}
	l := &Layout{job: j, keep: j.Columns.Keep, isAdded: map[string]bool{}}
	kept, err := l.kept(input)
	if err != nil {
		return nil, err
	}
	if err := l.addColumns(); err != nil {
		return nil, err
	}
	l.schema = kept
	for _, added := range l.added {
		name := added.column.Name
		if l.isAdded[name] {
			return nil, fmt.Errorf("column %q would stand twice in the output: call the one in columns.add or answer otherwise", name)
		}
		l.isAdded[name] = true
		if slices.Contains(l.keep, name) || slices.ContainsFunc(kept, func(c Column) bool { return c.Name == name }) {
			return nil, errors.New(l.clash(name))
		}
		l.schema = append(l.schema, added.column)
	}
	return l, nil
}

// kept are the columns of the input that stay.
func (l *Layout) kept(input Schema) (Schema, error) {
	for i, name := range l.keep {
		if slices.Contains(l.keep[:i], name) {
			return nil, fmt.Errorf("columns.keep names %q twice", name)
		}
	}
	if l.keep == nil || input == nil {
		return slices.Clone(input), nil
	}
	kept := make(Schema, 0, len(l.keep))
	for _, name := range l.keep {
		at := slices.IndexFunc(input, func(c Column) bool { return c.Name == name })
		if at < 0 {
			return nil, errors.New("columns.keep: " + unknownColumn(name, input.Names(), strconv.Quote))
		}
		kept = append(kept, input[at])
	}
	return kept, nil
}

func (l *Layout) clash(name string) string {
	message := fmt.Sprintf("column %q of the input is also one that the output adds: set columns.prefix", name)
	if l.job.Columns.Prefix == "" {
		return message + `, for example prefix: "answer_"`
	}
	return message + " to another one"
}

// addColumns lists the columns that are not the input's.
func (l *Layout) addColumns() error {
	add := func(name string, t Type, fill func([]byte, *answered) []byte) {
		l.added = append(l.added, addedColumn{Column{l.job.Columns.Prefix + name, t}, fill})
	}
	if l.job.Answer != nil {
		for _, property := range l.job.Answer.Properties {
			add(property.Name, property.Type, fillProperty(property))
		}
		add("response", Type{Kind: KindString}, fillFailedText)
	} else {
		add("response", Type{Kind: KindString}, fillText)
	}
	for _, entry := range l.job.Columns.Add {
		path, err := parsePath(entry.Path, l.job.Answer)
		if err != nil {
			return fmt.Errorf("columns.add.%s: %w", entry.Name, err)
		}
		add(entry.Name, path.kind, path.fill)
	}
	for _, end := range endColumns {
		add(end.column.Name, end.column.Type, end.fill)
	}
	return nil
}

// Schema lists the output's columns in order; without the input's when those were not known.
func (l *Layout) Schema() Schema { return l.schema }

// Check says what is wrong when a record has a column that the output adds; empty when nothing is.
func (l *Layout) Check(rec *Record) string {
	if l.batches || l.keep != nil {
		return "" // every kept column was checked when the layout was made
	}
	for i := range rec.Fields {
		if name := rec.Fields[i].Name; l.isAdded[name] {
			return l.clash(name)
		}
	}
	return ""
}

// Row appends the output row of a record: the kept columns as they came, then the added ones. A column that the
// record does not have is left out when all are kept, and null when columns.keep names it; one that Check refuses is
// left out.
func (l *Layout) Row(rec *Record, res *Result, row []Member) []Member {
	if l.batches {
		return batchRow(row, rec, res)
	}
	switch {
	case rec.Problem != "":
	case l.keep == nil && l.Check(rec) == "":
		row = append(row, rec.Fields...)
	case l.keep == nil:
		// A row can't have two columns of one name; the record failed for it.
		for i := range rec.Fields {
			if !l.isAdded[rec.Fields[i].Name] {
				row = append(row, rec.Fields[i])
			}
		}
	default:
		for _, name := range l.keep {
			raw, ok := rec.Get(name)
			if !ok {
				raw = null
			}
			row = append(row, Member{name, raw})
		}
	}
	a := answered{res: res}
	// All values of a row share one buffer; growing it leaves the earlier ones where they are.
	var values []byte
	for i := range l.added {
		start := len(values)
		values = l.added[i].fill(values, &a)
		row = append(row, Member{l.added[i].column.Name, values[start:]})
	}
	return row
}

var null = []byte("null")

// endColumns tell how a record ended.
var endColumns = []addedColumn{
	textColumn("_status", func(res *Result) string { return string(res.Status) }),
	textColumn("_reason", func(res *Result) string { return string(res.Reason) }),
	textColumn("_error", func(res *Result) string { return res.Error }),
	textColumn("_stop_reason", func(res *Result) string { return res.StopReason }),
	textColumn("_model", func(res *Result) string { return res.Model }),
	usageColumn("_input_tokens", func(u Usage) int64 { return u.Input }),
	usageColumn("_output_tokens", func(u Usage) int64 { return u.Output }),
	usageColumn("_cache_read_tokens", func(u Usage) int64 { return u.CacheRead }),
	usageColumn("_cache_write_tokens", Usage.CacheWrite),
	{Column{"_cost_usd", Type{Kind: KindDecimal, Precision: 18, Scale: 9}}, fillCost},
	{Column{"_attempts", Type{Kind: KindInteger}}, func(dst []byte, a *answered) []byte {
		return strconv.AppendInt(dst, int64(a.res.Attempts), 10)
	}},
	{Column{"_latency_ms", Type{Kind: KindInteger}}, fillLatency},
	textColumn("_request_id", func(res *Result) string { return res.RequestID }),
	{Column{"_finished_at", Type{Kind: KindTimestamp, Unit: "millis", UTC: true}}, fillFinishedAt},
}

// textColumn is a column of text where empty means null.
func textColumn(name string, of func(*Result) string) addedColumn {
	return addedColumn{Column{name, Type{Kind: KindString}}, func(dst []byte, a *answered) []byte {
		text := of(a.res)
		if text == "" {
			return append(dst, null...)
		}
		return AppendString(dst, strings.ToValidUTF8(text, "\uFFFD"))
	}}
}

// usageColumn counts tokens; null when there was no message to count.
func usageColumn(name string, of func(Usage) int64) addedColumn {
	return addedColumn{Column{name, Type{Kind: KindInteger}}, func(dst []byte, a *answered) []byte {
		if a.res.Message == nil {
			return append(dst, null...)
		}
		return strconv.AppendInt(dst, of(a.res.Usage), 10)
	}}
}

func fillCost(dst []byte, a *answered) []byte {
	if !a.res.Priced {
		return append(dst, null...)
	}
	return append(dst, a.res.Cost.Decimal()...)
}

func fillLatency(dst []byte, a *answered) []byte {
	if a.res.Calls == 0 {
		return append(dst, null...)
	}
	return strconv.AppendInt(dst, a.res.Latency.Milliseconds(), 10)
}

func fillFinishedAt(dst []byte, a *answered) []byte {
	if a.res.FinishedAt.IsZero() {
		return append(dst, null...)
	}
	return a.res.FinishedAt.UTC().AppendFormat(dst, `"2006-01-02T15:04:05.000Z"`)
}
