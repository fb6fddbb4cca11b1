package worker

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
)

// kept lists the limits that the run's calls keep. While all slots of the worker are taken calls wait for one of those,
// and for no limit but a hold.
func (r *run) kept(full bool) []KeptLimits {
	var kept []KeptLimits
	for i, state := range r.limits.states() {
		if full && state.Bound < ratelimit.BoundByHold {
			state.Bound, state.Why = ratelimit.BoundByNothing, ""
		}
		limits := KeptLimits{BaseURL: r.terms.BaseURL, State: state}
		if i == 0 && r.limits.own != nil {
			limits.Run, limits.BaseURL = r.id, ""
		}
		kept = append(kept, limits)
	}
	inOrder(kept)
	theFuller(kept)
	return kept
}

// theFuller leaves of the job's own rate limit and one of a key, when calls seem to wait for both, the one of which more
// is used: a call that either refuses was asked of both.
func theFuller(kept []KeptLimits) {
	for i := range kept {
		own, key := &kept[0], &kept[i]
		if own.Run == "" || key.Run != "" {
			continue
		}
		ofOwn, ofKey := usedOfBound(own), usedOfBound(key)
		switch {
		case ofOwn < 0 || ofKey < 0:
		case ofOwn >= ofKey:
			key.Bound, key.Why = ratelimit.BoundByNothing, ""
		default:
			own.Bound, own.Why = ratelimit.BoundByNothing, ""
		}
	}
}

// usedOfBound is the share that was used of the rate limit that calls wait for; below 0 when they wait for none.
func usedOfBound(l *KeptLimits) float64 {
	for _, limit := range l.Limits {
		if kindOf(limit) == l.Bound.String() && limit.Effective > 0 {
			return limit.Used / limit.Effective
		}
	}
	return -1
}

// inOrder sorts limits: jobs' own, then those of keys by what shares them.
func inOrder(kept []KeptLimits) {
	slices.SortFunc(kept, func(a, b KeptLimits) int {
		return cmp.Or(strings.Compare(b.Run, a.Run), strings.Compare(a.Scope, b.Scope), strings.Compare(a.BaseURL, b.BaseURL))
	})
}

// boundOf is what calls wait for. A worker that waits for its next slice may say that too many calls run at once: it is
// no limit while any number may, or far fewer do.
func boundOf(l KeptLimits) ratelimit.Bound {
	if l.Bound == ratelimit.BoundByConcurrency && (l.Concurrency == 0 || 4*l.InFlight < 3*l.Concurrency) {
		return ratelimit.BoundByNothing
	}
	return l.Bound
}

// waitFor says in words, and in one of courier.Bounds, what calls wait for on account of limits. That a job runs as many
// calls at once as it wants is no wait; that the API bears no more is one.
func waitFor(kept []KeptLimits) (why, bound string) {
	for _, l := range kept {
		is := boundOf(l)
		switch is {
		case ratelimit.BoundByNothing:
			continue
		case ratelimit.BoundByRequests, ratelimit.BoundByInput, ratelimit.BoundByOutput, ratelimit.BoundByTokens:
			why = rateWaitedFor(l, is)
		case ratelimit.BoundByConcurrency:
			if l.Run != "" {
				continue
			}
			why = thousands(float64(l.Concurrency)) + " calls at once are as many as the API is known to bear"
		default:
			why = l.Why
		}
		if why != "" {
			return why, is.String()
		}
	}
	return "", ""
}

// rateWaitedFor says which limit calls wait for.
func rateWaitedFor(l KeptLimits, bound ratelimit.Bound) string {
	i := slices.IndexFunc(l.Limits, func(s ratelimit.LimitState) bool { return kindOf(s) == bound.String() })
	if i < 0 {
		return ""
	}
	limit := l.Limits[i]
	amount, unit := thousands(limit.Effective), limit.Kind+"/min"
	text := amount + " " + unit // first, because a narrow terminal shows no more
	switch {
	case l.Run != "":
		return text + ", the job's limit"
	case limit.Learned == 0:
		return "about " + text + ", found by refusals"
	case limit.Effective >= nearly*limit.Learned:
		return thousands(limit.Learned) + " " + unit + ", the API's limit"
	case limit.Effective >= nearly*limit.Learned*(1-l.Headroom):
		return fmt.Sprintf("%s, the API's %s less %.3g%% headroom", text, thousands(limit.Learned), 100*l.Headroom)
	}
	return text + " of the API's " + thousands(limit.Learned)
}

// nearly is the part of a limit from which on it is kept as it is, but for a margin.
const nearly = 0.98

// kindOf names the kind of a limit as ratelimit.Bound and courier.RateKinds do.
func kindOf(l ratelimit.LimitState) string {
	return strings.TrimSuffix(l.Kind, " tokens") // "input tokens", and "tokens" for both
}

// thousands writes a number for people.
func thousands(x float64) string {
	digits := strconv.FormatFloat(max(x, 0), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// told is what a report says of limits.
func (r *run) told(kept KeptLimits, answered bool) courier.Limits {
	l := courier.Limits{
		Own: kept.Run != "", Concurrency: kept.Concurrency, InFlight: kept.InFlight, Answered: answered, BoundBy: boundOf(kept).String(),
	}
	if !l.Own {
		l.Scope, l.Account, l.Headroom = kept.Scope, r.limits.account, kept.Headroom
	}
	if kept.Bound == ratelimit.BoundByHold { // others are over in a moment
		l.Until, l.Reason = kept.Until.UTC(), kept.Reason
	}
	for _, limit := range kept.Limits {
		l.Rates = append(l.Rates, courier.Rate{
			Kind: kindOf(limit), Learned: limit.Learned, Effective: limit.Effective, Left: limit.Left, Used: limit.Used,
		})
	}
	return l
}
