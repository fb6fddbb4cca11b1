package courier

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Limits is what a worker knows of the limits of a scope: of one key and the models that share limits, or the job's own.
type Limits struct {
	// Own says that they are the job's own; otherwise Scope names the models that share them.
	Own   bool   `json:"own,omitempty"`
	Scope string `json:"scope,omitempty"`
	// Account tells the same scope of several keys apart, and tells none of them.
	Account string `json:"account,omitempty"`
	Rates   []Rate `json:"rates,omitempty"`
	// Concurrency is how many calls may run at once; 0 for any number. InFlight is how many do, of all workers and runs.
	Concurrency int `json:"concurrency,omitempty"`
	InFlight    int `json:"in_flight,omitempty"`
	// Headroom is the share (at least 0, below 1) that is left to other users of the key.
	Headroom float64 `json:"headroom,omitempty"`
	// Answered says that the API has answered calls, and could have told of its limits.
	Answered bool `json:"answered,omitempty"`
	// BoundBy is what the worker's calls wait for, one of Bounds; empty when they do not wait. Until is when a hold is over,
	// and Reason why there is one.
	BoundBy string    `json:"bound_by,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Reason  string    `json:"reason,omitempty"`
}

// Rate is a limit on what may be used a minute.
type Rate struct {
	// Kind is one of RateKinds.
	Kind string `json:"kind"`
	// Learned is what the API says that the limit is; 0 when it says none.
	Learned float64 `json:"learned,omitempty"`
	// Effective is what is kept; 0 when none is.
	Effective float64 `json:"effective,omitempty"`
	// Left is what the API last said to be left of it; nil when it did not.
	Left *float64 `json:"left,omitempty"`
	// Used is what all workers used in the last minute.
	Used float64 `json:"used,omitempty"`
}

// RateKinds is what a rate limit counts; input and output are tokens, and tokens both together.
var RateKinds = []string{"requests", "input", "output", "tokens"}

// Bounds is what calls can wait for: a rate limit of that kind, a limit on calls at once, a time before which nothing may
// start, or a Redis that does not answer.
var Bounds = append(slices.Clone(RateKinds), "concurrency", "hold", "redis")

// What a report may hold. Whoever can write to Redis could put anything into it.
const (
	mostLimits  = 16 // scopes
	mostCounted = 1 << 30
	mostRate    = 1e15
	longestWhy  = 1000 // bytes
	longestName = 200
	// farthest is how far from now a time can be that calls wait for; holds are shorter.
	farthest = 7 * 24 * time.Hour
)

// restrain makes of a beat one that a worker may have meant: numbers that are numbers, and texts that fit on a screen.
func (b *Beat) restrain(now time.Time) {
	b.Host, b.Refused = cut(b.Host, longestName), cut(b.Refused, longestWhy)
	b.Slots = counted(b.Slots)
	if b.At.After(now) {
		b.At = now
	}
	b.Report.restrain(now)
}

func (r *Report) restrain(now time.Time) {
	r.InFlight, r.Waiting, r.Why = counted(r.InFlight), counted(r.Waiting), cut(r.Why, longestWhy)
	r.BoundBy = oneOf(r.BoundBy, Bounds)
	r.Limits = r.Limits[:min(len(r.Limits), mostLimits)]
	for i := range r.Limits {
		r.Limits[i].restrain(now)
	}
}

func (l *Limits) restrain(now time.Time) {
	l.Scope, l.Account, l.Reason = cut(l.Scope, longestName), cut(l.Account, longestName), cut(l.Reason, longestName)
	l.Concurrency, l.InFlight = counted(l.Concurrency), counted(l.InFlight)
	if !(l.Headroom >= 0 && l.Headroom < 1) {
		l.Headroom = 0
	}
	l.BoundBy = oneOf(l.BoundBy, Bounds)
	if away := l.Until.Sub(now).Abs(); away > farthest {
		l.Until = time.Time{}
	}
	var rates []Rate
	for _, kind := range RateKinds {
		if i := slices.IndexFunc(l.Rates, func(r Rate) bool { return r.Kind == kind }); i >= 0 {
			r := l.Rates[i]
			r.Learned, r.Effective, r.Used = amount(r.Learned), amount(r.Effective), amount(r.Used)
			if r.Left != nil {
				r.Left = new(amount(*r.Left))
			}
			rates = append(rates, r)
		}
	}
	l.Rates = rates
}

func counted(n int) int { return min(max(n, 0), mostCounted) }

func amount(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return min(max(x, 0), mostRate)
}

func oneOf(word string, words []string) string {
	if slices.Contains(words, word) {
		return word
	}
	return ""
}

// cut shortens a text to so many bytes, and leaves no part of a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
