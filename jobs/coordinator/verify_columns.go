package coordinator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/io/parquetio"
	"github.com/batchwright/batchwright/io/source"
	"github.com/batchwright/batchwright/jobs"
)

// expectation is what the manifest says of the columns of an output.
type expectation struct {
	batches bool
	id      string   // the job's own choice; empty for custom_id or id, else the number
	keep    []string // names of the input's columns; nil for all that a record has
	prefix  string
	// added are the columns that are not the input's; nil when the manifest does not say.
	added   []string
	isAdded map[string]bool
	// types are those of the input's columns, for typed output; nil for text.
	types jobs.Schema
	typed bool
}

// expect reads what an output must look like from the manifest.
func expect(m *Manifest) (*expectation, error) {
	var chosen struct {
		ID      string       `json:"id"`
		Columns jobs.Columns `json:"columns"`
	}
	if err := json.Unmarshal([]byte(m.OutputColumns), &chosen); err != nil {
		return nil, fmt.Errorf("read output columns of the manifest: %w", err)
	}
	e := &expectation{
		batches: m.Batches, id: chosen.ID, keep: chosen.Columns.Keep, prefix: chosen.Columns.Prefix,
		added: m.AddedColumns, isAdded: make(map[string]bool), typed: m.Format.Typed(),
	}
	if e.batches {
		e.keep, e.added = []string{"custom_id"}, []string{"result"}
	}
	for _, name := range e.added {
		e.isAdded[name] = true
	}
	if e.typed && !e.batches {
		for _, column := range m.Columns {
			// A column that came late with the name of an added one is not the output's; its records fail.
			if !e.isAdded[column.Name] && (e.keep == nil || slices.Contains(e.keep, column.Name)) {
				e.types = append(e.types, column)
			}
		}
	}
	return e, nil
}

// unchecked says what can't be told from the columns of this output.
func (e *expectation) unchecked() []string {
	notes := []string{}
	switch {
	case e.batches || e.keep == nil:
	case len(e.keep) == 0:
		notes = append(notes, "the order of the rows and which record each belongs to: the output keeps no column of the input, "+
			"so only the number of rows was checked")
	case !e.keepsID():
		notes = append(notes, "records that are alike in the columns that the output keeps ("+strings.Join(e.keep, ", ")+
			") can't be told apart: rows swapped among them would not be seen")
	}
	if e.added == nil {
		notes = append(notes, "which columns the output adds: this run was made by a batchwright that did not note them")
	}
	return notes
}

// keepsID reports whether the column that labels records is in the output.
func (e *expectation) keepsID() bool {
	if e.id != "" {
		return slices.Contains(e.keep, e.id)
	}
	return slices.Contains(e.keep, "custom_id") || slices.Contains(e.keep, "id")
}

// label is what a person calls a record; empty when that is its number.
func (e *expectation) label(record *jobs.Record) string {
	for _, name := range []string{e.id, "custom_id", "id"} {
		if value, ok := record.Get(name); ok && name != "" {
			return gjson.ParseBytes(value).String()
		}
	}
	return ""
}

// schemaFault says in what the columns of a typed file are not those of the output; empty when they are.
func (e *expectation) schemaFault(file *source.File) (string, error) {
	if file.Format != source.Parquet {
		return "", nil
	}
	schema, _, err := parquetio.ReadSchema(file.Path)
	if err != nil {
		return "", err //nolint:wrapcheck // names the file
	}
	has := make(map[string]bool)
	for _, column := range schema {
		has[column.Name] = true
	}
	wanted := slices.Concat(e.types.Names(), e.added)
	if e.batches {
		wanted = slices.Concat(e.keep, e.added)
	}
	for _, name := range wanted {
		if !has[name] {
			return fmt.Sprintf("the file has no column %q", name), nil
		}
		delete(has, name)
	}
	if e.added != nil {
		for name := range has {
			return fmt.Sprintf("the file has a column %q, which is none of the output's", name), nil
		}
	}
	return "", nil
}

// differs says in what a row's columns are not those of a record; empty when it can be the record's row.
func (e *expectation) differs(record, row *jobs.Record) string {
	if row.Problem != "" {
		return "the row can't be read: " + row.Problem
	}
	switch {
	case e.batches:
		id, ok := record.Get("custom_id")
		if !ok { // a broken record goes by its number
			id = json.RawMessage(strconv.Quote(strconv.FormatInt(record.Number, 10)))
		}
		return keptDiffers(row, 0, "custom_id", id, nil)
	case e.typed:
		for i := range e.types {
			value, ok := memberAt(record.Fields, i, e.types[i].Name)
			if !ok {
				value = json.RawMessage("null")
			}
			if what := keptDiffers(row, i, e.types[i].Name, value, &e.types[i].Type); what != "" {
				return what
			}
		}
		return ""
	case record.Problem != "":
		return e.foreign(row, 0, func(string) bool { return false })
	case e.keep != nil:
		for i, name := range e.keep {
			value, ok := memberAt(record.Fields, i, name)
			if !ok {
				value = json.RawMessage("null")
			}
			if what := keptDiffers(row, i, name, value, nil); what != "" {
				return what
			}
		}
		return e.foreign(row, len(e.keep), func(name string) bool { return slices.Contains(e.keep, name) })
	default:
		kept := 0
		for i := range record.Fields {
			field := &record.Fields[i]
			if e.isAdded[field.Name] {
				continue // came late; the record fails
			}
			if what := keptDiffers(row, kept, field.Name, field.Value, nil); what != "" {
				return what
			}
			kept++
		}
		return e.foreign(row, kept, func(name string) bool {
			_, has := record.Get(name)
			return has
		})
	}
}

// keptDiffers says in what a row's column is not what a record holds; place is where it mostly stands.
func keptDiffers(row *jobs.Record, place int, name string, value json.RawMessage, t *jobs.Type) string {
	found, ok := memberAt(row.Fields, place, name)
	switch {
	case !ok:
		return fmt.Sprintf("the row has no column %q", name)
	case !sameValue(value, found, t):
		return fmt.Sprintf("column %q is not as in the input", name)
	}
	return ""
}

// foreign names a column of a row that is neither added nor kept; so many of those are known to be there.
func (e *expectation) foreign(row *jobs.Record, kept int, isKept func(name string) bool) string {
	if e.added == nil {
		return ""
	}
	others := 0
	for i := range row.Fields {
		if !e.isAdded[row.Fields[i].Name] {
			others++
		}
	}
	if others == kept {
		return ""
	}
	for i := range row.Fields {
		if name := row.Fields[i].Name; !e.isAdded[name] && !isKept(name) {
			return fmt.Sprintf("the row has a column %q, which the record has not", name)
		}
	}
	return ""
}

// memberAt finds a member by its name, first at the place where it mostly stands.
func memberAt(fields []jobs.Member, place int, name string) (json.RawMessage, bool) {
	if 0 <= place && place < len(fields) && fields[place].Name == name {
		return fields[place].Value, true
	}
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Value, true
		}
	}
	return nil, false
}
