package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
)

// limitsLine is what status --json says of the limits of one scope. docs/operations.md names the keys.
type limitsLine struct {
	// Source is job for the bounds that the job sets itself, api for the limits of a key.
	Source string `json:"source"`
	// Scope names the models that share the limits of the key, Account the key; both are empty for the job's own.
	Scope    string      `json:"scope"`
	Account  string      `json:"account"`
	Limits   []limitLine `json:"limits"`
	Headroom float64     `json:"headroom"`
	// BoundBy is what calls wait for: the kind of a limit, hold, redis, or nothing.
	BoundBy string `json:"bound_by"`
	// HeldUntil is when a hold is over, and HoldReason why there is one.
	HeldUntil  *time.Time `json:"held_until"`
	HoldReason string     `json:"hold_reason"`
	// Age is that of what is said here.
	Age float64 `json:"age_seconds"`

	answered bool // the API has answered calls, and could have told of its limits
}

// limitLine is one limit: per minute, or calls at once when Kind is concurrency. What is not known is null.
type limitLine struct {
	// Kind is requests, input, output, tokens (input and output together) or concurrency.
	Kind string `json:"kind"`
	// Set is the job's own limit, Learned the API's, Effective what is kept.
	Set       *float64 `json:"set"`
	Learned   *float64 `json:"learned"`
	Effective *float64 `json:"effective"`
	// Remaining is what the API said last that is left.
	Remaining *float64 `json:"remaining"`
	// Used is what all workers used in the last minute, or the calls in flight; UsedShare is that of Effective.
	Used      float64  `json:"used"`
	UsedShare *float64 `json:"used_share"`
}

const concurrencyKind = "concurrency"

// alike is how much older than the latest report of a scope another may be that says what calls wait for: workers report
// every three seconds, and not all of them have calls that wait.
const alike = 6 * time.Second

// limitsOf joins what the workers of a run say of its limits: of each scope the latest report counts.
func limitsOf(workers map[string]courier.Beat, now time.Time) []limitsLine {
	type scope struct {
		own           bool
		name, account string
	}
	type report struct {
		courier.Limits
		at time.Time
	}
	reports := make(map[scope][]report)
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		beat := workers[name]
		for _, l := range beat.Limits {
			of := scope{l.Own, l.Scope, l.Account}
			reports[of] = append(reports[of], report{l, beat.At})
		}
	}
	inFlight := 0
	for _, beat := range workers {
		inFlight += beat.InFlight
	}
	lines := []limitsLine{}
	for of, all := range reports {
		slices.SortStableFunc(all, func(a, b report) int { return b.at.Compare(a.at) })
		latest := all[0]
		if of.own {
			latest.InFlight = inFlight // to the moment
		}
		line := limitsLine{Source: "api", Scope: of.name, Account: of.account, Headroom: latest.Headroom, Limits: limitLinesOf(&latest.Limits)}
		if of.own {
			line.Source = "job"
		}
		if !latest.at.IsZero() {
			line.Age = max(now.Sub(latest.at).Seconds(), 0)
		}
		for _, r := range all {
			line.answered = line.answered || r.Answered
			over := r.BoundBy == "hold" && !r.Until.After(now)
			if line.BoundBy != "" || r.BoundBy == "" || over || latest.at.Sub(r.at) > alike {
				continue
			}
			line.BoundBy = r.BoundBy
			if r.BoundBy == "hold" {
				line.HeldUntil, line.HoldReason = new(r.Until), r.Reason
			}
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(a, b limitsLine) int {
		return cmp.Or(strings.Compare(b.Source, a.Source), strings.Compare(a.Scope, b.Scope), strings.Compare(a.Account, b.Account))
	})
	return lines
}

// limitLinesOf lists the limits of a scope.
func limitLinesOf(l *courier.Limits) []limitLine {
	lines := []limitLine{}
	add := func(kind string, learned, effective, used float64, remaining *float64) {
		line := limitLine{Kind: kind, Effective: known(effective), Used: rounded(used), Remaining: remaining}
		if l.Own {
			line.Set = line.Effective
		} else {
			line.Learned = known(learned)
		}
		if effective > 0 {
			line.UsedShare = new(math.Round(1000*min(used/effective, mostShare)) / 1000)
		}
		lines = append(lines, line)
	}
	for _, r := range l.Rates {
		remaining := r.Left
		if remaining != nil {
			remaining = new(rounded(*remaining))
		}
		add(r.Kind, r.Learned, r.Effective, r.Used, remaining)
	}
	if n := float64(l.Concurrency); n > 0 {
		add(concurrencyKind, n, n, float64(l.InFlight), nil)
	}
	return lines
}

// mostShare bounds a share of next to nothing.
const mostShare = 1000

// known is null for nothing.
func known(x float64) *float64 {
	if x <= 0 {
		return nil
	}
	return new(rounded(x))
}

func rounded(x float64) float64 { return math.Round(10*x) / 10 }

// mostShown is how many scopes the text shows.
const mostShown = 8

// limitsTexts says for people what the limits are, a line for each scope.
func limitsTexts(lines []limitsLine) []string {
	if !slices.ContainsFunc(lines, func(l limitsLine) bool { return l.Source == "api" }) {
		lines = append(slices.Clone(lines), limitsLine{Source: "api"}) // no call has asked for them yet
	}
	accounts := make(map[string]int)
	for _, l := range lines {
		accounts[l.Scope]++
	}
	if len(lines) > mostShown { // what calls wait for must be seen
		lines = slices.Clone(lines)
		slices.SortStableFunc(lines, func(a, b limitsLine) int { return strings.Compare(b.shownFirst(), a.shownFirst()) })
	}
	var texts []string
	for i := range lines[:min(len(lines), mostShown)] {
		texts = append(texts, lines[i].text(accounts[lines[i].Scope] > 1))
	}
	if more := len(lines) - mostShown; more > 0 {
		texts = append(texts, fmt.Sprintf("and those of %s more, which --json lists", formatNumber(int64(more), "model")))
	}
	return texts
}

func (l *limitsLine) shownFirst() string { return l.Source + " " + l.BoundBy }

// text is a line such as
//
//	haiku-4-5: 1,000 requests/min (97% used, 12 left) · 400,000 output tokens/min (31% used) · bound by requests
func (l *limitsLine) text(severalKeys bool) string {
	var parts []string
	told, known := false, l.answered
	for i := range l.Limits {
		limit := &l.Limits[i]
		told = told || limit.Learned != nil && limit.Kind != concurrencyKind
		known = known || limit.Kind != concurrencyKind
		if text := limit.text(known); text != "" {
			parts = append(parts, text)
		}
	}
	switch {
	case l.Source == "job":
	case !known:
		parts = append([]string{"not known yet"}, parts...)
	case !told:
		parts = append([]string{"the API tells none"}, parts...)
	}
	if l.Headroom > 0 {
		parts = append(parts, fmt.Sprintf("%.3g%% left to others", 100*l.Headroom))
	}
	if bound := l.bound(); bound != "" {
		parts = append(parts, bound)
	}
	if l.Age > courier.WorkerTimeout.Seconds() {
		parts = append(parts, "said "+formatTime(time.Duration(min(l.Age, 1e9)*float64(time.Second)))+" ago")
	}
	text := cmp.Or(strings.Join(parts, " · "), "none kept")
	switch {
	case l.Source == "job":
		return "set by the job: " + text
	case l.Scope == "":
		return text
	case severalKeys:
		return fmt.Sprintf("%s with key %.6s: %s", clean(l.Scope), clean(l.Account), text)
	}
	return clean(l.Scope) + ": " + text
}

var limitUnits = map[string]string{
	"requests": "requests/min", "input": "input tokens/min", "output": "output tokens/min", "tokens": "tokens/min",
}

// text is empty for a limit that says nothing new. answered says that calls have shown what the service bears.
func (l *limitLine) text(answered bool) string {
	unit := limitUnits[l.Kind]
	switch {
	case l.Kind == concurrencyKind && l.Effective != nil:
		most := fmt.Sprintf("at most %s at once", formatNumber(int64(*l.Effective), "call"))
		switch {
		case l.Set != nil:
		case answered:
			most += ", found by trying"
		default:
			most += " at first"
		}
		return fmt.Sprintf("%s (%s in flight)", most, formatCount(int64(l.Used)))
	case l.Effective == nil && l.Learned == nil, l.Effective == nil && l.Kind == "tokens": // mostly the sum of the other two
		return ""
	case l.Effective == nil:
		return fmt.Sprintf("%s %s told, not kept because it keeps changing", formatAmount(*l.Learned), unit)
	}
	amount := formatAmount(*l.Effective)
	switch {
	case l.Set != nil:
	case l.Learned == nil:
		amount = "about " + amount
		unit += ", found by refusals"
	case *l.Effective >= 0.98**l.Learned:
		amount = formatAmount(*l.Learned)
	default:
		amount += " of " + formatAmount(*l.Learned)
	}
	use := fmt.Sprintf("%.0f%% used", 100*min(*l.UsedShare, 9.99))
	if l.Remaining != nil {
		use += ", " + formatAmount(*l.Remaining) + " left"
	}
	return fmt.Sprintf("%s %s (%s)", amount, unit, use)
}

// bound says what calls wait for.
func (l *limitsLine) bound() string {
	switch l.BoundBy {
	case "":
		return ""
	case "requests", "tokens":
		return "bound by " + l.BoundBy
	case "input", "output":
		return "bound by " + l.BoundBy + " tokens"
	case concurrencyKind:
		return "bound by calls at once"
	case "redis":
		return "held because Redis does not answer"
	}
	text := "held"
	if l.HeldUntil != nil {
		text += " until " + l.HeldUntil.Local().Format(time.TimeOnly)
	}
	if l.HoldReason != "" {
		text += ": " + clean(l.HoldReason)
	}
	return text
}

// formatAmount writes a limit or a part of one.
func formatAmount(x float64) string {
	if x > 0 && x < 9.5 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0")
	}
	return formatCount(int64(math.Round(x)))
}
