package coordinator

import (
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// ending reads how a row says that its record ended, and says what is wrong with that; empty when nothing is.
func (e *expectation) ending(record, row *jobs.Record) (succeeded bool, what string) {
	for i, name := range e.added {
		if _, ok := memberAt(row.Fields, len(row.Fields)-len(e.added)+i, name); !ok {
			return false, fmt.Sprintf("the row has no column %q", name)
		}
	}
	if e.batches {
		return batchEnding(record, row)
	}
	status, reason := e.text(row, "_status"), e.text(row, "_reason")
	switch {
	case status.Type != gjson.String || status.Str != string(jobs.Succeeded) && status.Str != string(jobs.Failed):
		return false, fmt.Sprintf("%s_status is neither succeeded nor failed", e.prefix)
	case status.Str == string(jobs.Succeeded) && e.isBroken(record):
		return false, "the row says succeeded, and the record can't have been asked"
	case status.Str == string(jobs.Succeeded) && reason.Type != gjson.Null:
		return false, fmt.Sprintf("%s_reason is set on a row that says succeeded", e.prefix)
	case status.Str == string(jobs.Succeeded):
		return true, ""
	case reason.Type != gjson.String || !slices.Contains(jobs.Reasons, jobs.Reason(reason.Str)):
		return false, fmt.Sprintf("%s_reason is none of those that there are", e.prefix)
	case e.isBroken(record) && reason.Str != string(jobs.ReasonBadInput):
		return false, fmt.Sprintf("%s_reason is %s, and the record is bad_input: it can't have been asked", e.prefix, reason.Str)
	}
	return false, ""
}

// text is one of the row's columns that tell how it ended; null when there is none.
func (e *expectation) text(row *jobs.Record, name string) gjson.Result {
	value, _ := row.Get(e.prefix + name)
	return gjson.ParseBytes(value)
}

// isBroken reports whether no request can have been made of a record: it could not be read, or has a column of the
// name of one that the output adds.
func (e *expectation) isBroken(record *jobs.Record) bool {
	return record.Problem != "" || e.keep == nil && slices.ContainsFunc(record.Fields, func(f jobs.Member) bool { return e.isAdded[f.Name] })
}

// batchEnding reads a result of the Message Batches format: succeeded with a message, or errored with an error.
func batchEnding(record, row *jobs.Record) (succeeded bool, what string) {
	value, _ := row.Get("result")
	result := gjson.ParseBytes(value)
	_, problem := jobs.BatchRequest(record)
	switch kind := result.Get("type").Str; {
	case kind == "succeeded" && !result.Get("message").IsObject():
		return false, "the result says succeeded and has no message"
	case kind == "succeeded" && problem != "":
		return false, "the result says succeeded, and the record can't have been asked"
	case kind == "succeeded":
		return true, ""
	case kind == "errored" && result.Get("error.error.type").Type != gjson.String:
		return false, "the result says errored and has no error"
	case kind == "errored":
		return false, ""
	}
	return false, "the result is neither succeeded nor errored"
}
