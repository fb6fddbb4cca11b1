package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// answeredRecord is a record with its result, as try and show print it.
type answeredRecord struct {
	result  jobs.Result
	request json.RawMessage // nil when there is none
	note    string          // on the request
	reused  bool
	before  *jobs.Result // what an earlier request was answered
	changed bool
}

// line gives a record the keys of --json, which stay as they are: null stands for what there is not, response is the
// answer's text and answer the same as JSON when it is an object or a list.
func (a *answeredRecord) line() recordLine {
	r := &a.result
	line := recordLine{
		Record: r.Record, ID: r.ID, Status: r.Status, Reason: orNil(r.Reason), Error: orNil(r.Error), Note: a.note,
		Request: a.request, StopReason: orNil(r.StopReason), Model: orNil(r.Model), Reused: a.reused,
		Attempts: r.Attempts, Calls: r.Calls, RequestID: orNil(r.RequestID), FinishedAt: r.FinishedAt.UTC(),
		LatencyMS: r.Latency.Milliseconds(), Tokens: tokensLine{
			r.Usage.Input, r.Usage.Output, r.Usage.CacheRead, r.Usage.CacheWrite(),
		},
	}
	if r.Message != nil {
		line.Response, line.Answer = answerOf(r)
	}
	if r.Priced {
		cost := json.Number(formatDecimal(r.Cost))
		line.Cost = &cost
	}
	if a.before != nil {
		line.Changed = &a.changed
		line.Before, _ = answerOf(a.before)
	}
	return line
}

type recordLine struct {
	Record     int64           `json:"record"`
	ID         string          `json:"id"`
	Status     jobs.Status     `json:"status"`
	Reason     *jobs.Reason    `json:"reason"`
	Error      *string         `json:"error"`
	Request    json.RawMessage `json:"request"`
	Note       string          `json:"note,omitempty"`
	Response   *string         `json:"response"`
	Answer     json.RawMessage `json:"answer"`
	Before     *string         `json:"before,omitempty"`
	Changed    *bool           `json:"changed,omitempty"`
	Reused     bool            `json:"reused,omitempty"`
	StopReason *string         `json:"stop_reason"`
	Model      *string         `json:"model"`
	Attempts   int             `json:"attempts"`
	Calls      int             `json:"calls"`
	Tokens     tokensLine      `json:"tokens"`
	Cost       *json.Number    `json:"cost_usd"`
	LatencyMS  int64           `json:"latency_ms"`
	RequestID  *string         `json:"request_id"`
	FinishedAt time.Time       `json:"finished_at"`
}

type tokensLine struct {
	Input      int64 `json:"input"`
	Output     int64 `json:"output"`
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
}

func orNil[T ~string](text T) *T {
	if text == "" {
		return nil
	}
	return &text
}

// answerOf is the text of a result's answer, and the same as JSON when it is an object or a list.
func answerOf(r *jobs.Result) (text *string, document json.RawMessage) {
	answer := jobs.Text(r.Message)
	if trimmed := strings.TrimSpace(answer); trimmed != "" && strings.ContainsRune("{[", rune(trimmed[0])) && json.Valid([]byte(trimmed)) {
		document = json.RawMessage(trimmed)
	}
	return &answer, document
}

// Bounds on what a terminal is shown of one text.
const (
	shownLines = 12
	shownRunes = 1000
)

// promptOf is what a request asks, for people: the text of its last message, and what else there is in a few words.
func promptOf(request json.RawMessage) string {
	messages := gjson.GetBytes(request, "messages").Array()
	if len(messages) == 0 {
		return "(no messages)"
	}
	var b strings.Builder
	if n := len(messages) - 1; n > 0 {
		fmt.Fprintf(&b, "(after %d earlier messages)\n", n)
	}
	b.WriteString(contentOf(messages[len(messages)-1].Get("content")))
	return b.String()
}

// contentOf is the text of a content that is text or a list of blocks, with the other blocks named.
func contentOf(content gjson.Result) string {
	if content.Type == gjson.String {
		return content.Str
	}
	var parts []string
	for _, block := range content.Array() {
		if kind := block.Get("type").Str; kind != "text" {
			parts = append(parts, "("+kind+")")
			continue
		}
		parts = append(parts, block.Get("text").Str)
	}
	return strings.Join(parts, "\n")
}

// excerpt cuts a text to what is read at a glance, and makes it safe for a terminal. The number of characters left
// out stands at its end.
func excerpt(text string) []string {
	runes := []rune(strings.TrimSpace(text))
	left := 0
	if len(runes) > shownRunes {
		left, runes = len(runes)-shownRunes, runes[:shownRunes]
	}
	lines := strings.Split(string(runes), "\n")
	if len(lines) > shownLines {
		for _, line := range lines[shownLines:] {
			left += len([]rune(line)) + 1
		}
		lines = lines[:shownLines]
	}
	for i, line := range lines {
		lines[i] = clean(line)
	}
	if left > 0 {
		lines[len(lines)-1] += fmt.Sprintf(" … (%s more characters)", formatCount(int64(left)))
	}
	return lines
}

// answerLines is an answer for people: a JSON object as a line for each member, everything else as text.
func answerLines(r *jobs.Result) []string {
	text, document := answerOf(r)
	if document == nil || document[0] != '{' {
		return excerpt(*text)
	}
	var lines []string
	for name, value := range jobs.ObjectMembers(document) {
		lines = append(lines, excerpt(clean(name)+": "+readable(value))...)
	}
	if len(lines) == 0 {
		return []string{"{}"}
	}
	return lines
}

// readable is a JSON value without the quotes of a text.
func readable(value json.RawMessage) string {
	if value == nil {
		return "(none)"
	}
	return gjson.ParseBytes(value).String()
}

// costOf is what a result cost, for people.
func costOf(r *jobs.Result) string {
	if !r.Priced {
		return "cost unknown"
	}
	return formatDollars(r.Cost)
}

// statusOf says how a record ended.
func statusOf(r *jobs.Result) string {
	if r.Status == jobs.Succeeded {
		return string(r.Status)
	}
	text := string(r.Status) + ": " + string(r.Reason)
	if r.Error != "" {
		text += " (" + clean(r.Error) + ")"
	}
	return text
}

// block writes labelled lines, the label before the first of them.
func block(b *strings.Builder, label string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			label = ""
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("  %-8s %s", label, line), " ") + "\n")
	}
}
