package ratelimit

// Cost is what a call takes from the limits. Before a call it is an estimate (see Estimator), after it what was used.
type Cost struct {
	// Requests is 1 for a call.
	Requests int64
	// Input and Output are tokens as the rate limits count them: cache reads are no input.
	Input, Output int64
}

// Kind is one of the things that limits count.
type Kind int

// The kinds, in the order of amounts. The script has the same order.
const (
	Requests Kind = iota
	Input
	Output
	Tokens // input and output together: the limit that a workspace may have
	kinds
)

// amounts is one number for each kind.
type amounts [kinds]float64

// amounts lists a cost by kind.
func (c Cost) amounts() amounts {
	return amounts{float64(c.Requests), float64(c.Input), float64(c.Output), float64(c.Input + c.Output)}
}

func (a amounts) plus(b amounts) amounts {
	for k := range a {
		a[k] += b[k]
	}
	return a
}

func (a amounts) minus(b amounts) amounts {
	for k := range a {
		a[k] -= b[k]
	}
	return a
}

// Bound is what keeps the next call from starting.
type Bound int

// The bounds. Those of the kinds are one more than the kind, as the script counts.
const (
	BoundByNothing Bound = iota
	BoundByRequests
	BoundByInput
	BoundByOutput
	BoundByTokens
	BoundByConcurrency
	BoundByHold
	// BoundByRedis: the worker's slice is over, and Redis does not answer.
	BoundByRedis
	bounds
)

var boundNames = [bounds]string{"", "requests", "input", "output", "tokens", "concurrency", "hold", "redis"}

// String names the bound in a word; it is empty for none.
func (b Bound) String() string {
	if b < 0 || b >= bounds {
		return "unknown"
	}
	return boundNames[b]
}

// Limits are bounds that a job sets for itself; a zero means none.
type Limits struct {
	// Concurrency is how many calls may run at once.
	Concurrency           int
	RequestsPerMinute     int64
	InputTokensPerMinute  int64
	OutputTokensPerMinute int64
}

// Any reports whether there is a bound.
func (l Limits) Any() bool { return l != Limits{} }

func (l Limits) perMinute() amounts {
	return amounts{float64(l.RequestsPerMinute), float64(l.InputTokensPerMinute), float64(l.OutputTokensPerMinute), 0}
}
