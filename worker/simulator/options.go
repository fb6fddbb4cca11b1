package simulator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Options say how the simulated service behaves. The zero value answers everything at once, without limits or faults.
type Options struct {
	// Key is the only credential accepted; empty accepts any that is not empty.
	Key string
	// AnyModel accepts every model name; otherwise names that do not begin with "claude" are answered 404.
	AnyModel bool
	// Seed starts the draws of latencies and faults. Answers do not depend on it.
	Seed uint64

	// AnswerTokens is the median length of a plain-text answer; 0 means 60.
	AnswerTokens int
	// Truncate is the share of requests whose answer is cut by max_tokens; the same requests each time.
	Truncate Share
	// Refuse is the share of requests that the model declines (stop_reason refusal); the same requests each time.
	Refuse Share

	// RequestsPerMinute, InputTokensPerMinute and OutputTokensPerMinute are token buckets; 0 means no limit.
	RequestsPerMinute     int64
	InputTokensPerMinute  int64
	OutputTokensPerMinute int64
	// Burst is how much of a limit can be used at once, as the time in which it refills; 0 means 10 s.
	Burst time.Duration
	// Ramp is the time in which the request limit grows from a tenth to all of itself, from the first call on;
	// calls over it are answered 429 ramp_limit_exceeded. It needs RequestsPerMinute; 0 means none.
	Ramp time.Duration
	// LimitHeaders says what answers tell of the limits; empty means all that the service tells.
	LimitHeaders LimitHeaders

	// Parallel is how many calls are worked on at once; the others queue in their order, as at a self-hosted server: more
	// calls make each take longer and no more answers. 0 means any number.
	Parallel int
	// Latency is the median time to the answer, or to the first event of a stream.
	Latency time.Duration
	// LatencySigma spreads the latency lognormally (0.5: one call in twenty takes over 2.3 times the median); 0 keeps it fixed.
	LatencySigma float64
	// TokenTime is added for each output token.
	TokenTime time.Duration
	// Slow is the share of calls that take SlowFactor times as long; a factor of 0 means 10.
	Slow       Share
	SlowFactor float64
	// Hang is the share of calls that are never answered.
	Hang Share

	// Errors are drawn for each call, so that the same request can succeed when it comes again.
	Errors Faults
	// Deterministic faults are drawn from the request's body: the same request fails each time.
	Deterministic Faults
	// Outages are windows, counted from New, in which no call succeeds.
	Outages Outages
	// SpendCap is the number of accepted calls after which the spend cap is reached; 0 means none.
	SpendCap int64
	// SpendCapStatus is how a reached spend cap is answered: 429 (the default, enforced_spend_limit_reached) or 400
	// (the limit that an organization sets for itself).
	SpendCapStatus int

	// Record counts the answers to each request body, for Answered and Stats.Repeated; it costs memory per request.
	Record bool
}

// Validate says which option cannot be.
func (o *Options) Validate() error {
	switch {
	case o.AnswerTokens < 0, o.RequestsPerMinute < 0, o.InputTokensPerMinute < 0, o.OutputTokensPerMinute < 0, o.SpendCap < 0, o.Parallel < 0:
		return errors.New("a count or limit is negative: use 0 for none")
	case o.Burst < 0, o.Ramp < 0, o.Latency < 0, o.TokenTime < 0:
		return errors.New("a duration is negative: use 0 for none")
	case !(o.LatencySigma >= 0 && o.LatencySigma <= 5):
		return fmt.Errorf("latency sigma %v is not between 0 and 5: 0 is a fixed latency, 0.5 a usual spread", o.LatencySigma)
	case !(o.SlowFactor >= 0 && o.SlowFactor <= 1e6):
		return fmt.Errorf("slow factor %v is not between 0 and 1,000,000", o.SlowFactor)
	case o.Ramp > 0 && o.RequestsPerMinute == 0:
		return errors.New("a ramp needs a limit of requests per minute to grow to")
	case o.SpendCapStatus != 0 && o.SpendCapStatus != 400 && o.SpendCapStatus != 429:
		return fmt.Errorf("spend cap status %d: the service uses 429, or 400 for a limit that one has set oneself", o.SpendCapStatus)
	}
	return o.LimitHeaders.check()
}

// Share is a part of a whole, from 0 to 1. It is written as "2%" or "0.02", and is a flag value.
type Share float64

// Set reads a share.
func (s *Share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return fmt.Errorf("%q is not a share: write 2%% or 0.02, at most 100%%", text)
	}
	*s = Share(v)
	return nil
}

// String writes the share in percent, and none as 0, which a flag's help leaves out.
func (s *Share) String() string {
	if *s == 0 {
		return "0"
	}
	return strconv.FormatFloat(float64(*s)*100, 'g', 6, 64) + "%"
}

// Type names the value in a flag's help.
func (*Share) Type() string { return "share" }
