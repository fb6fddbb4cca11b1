package main

import (
	"fmt"
	"math"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

// kind is the limit that binds.
type kind string

const (
	ofRequests kind = "requests"
	ofInput    kind = "input tokens"
	ofOutput   kind = "output tokens"
)

// goals are what a scenario is held to; a used of 0 asks for none.
type goals struct{ used, refused float64 }

var (
	toldGoals   = goals{used: 0.97, refused: 0.001}
	untoldGoals = goals{used: 0.90, refused: 0.01}
	sharedGoals = goals{refused: 0.01}
	// changedGoals allow what a limit that is halved without notice refuses before anybody can know.
	changedGoals = goals{used: 0.90, refused: 0.01}
)

// scenario is one account, or gateway, and a job that asks more of it than it lets through.
type scenario struct {
	name     string
	binding  kind
	api      simulator.Options
	workload workload
	// warm is how long the fleet has to find the limits before the window begins.
	warm  time.Duration
	goals goals
	// other lets another user take half of the quota in the middle third of the window.
	other bool
	// fast is 1,000 calls a second, where the round trips to Redis count.
	fast bool
	// halved halves the limits in the middle third of the window.
	halved bool
}

// untoldWarm is the time to find limits that no answer tells of.
const untoldWarm = time.Minute

// The latency of all scenarios: a median of 300 ms with a usual spread, and what the tokens take.
const (
	limitsLatency   = 300 * time.Millisecond
	limitsSigma     = 0.3
	limitsTokenTime = 5 * time.Millisecond
)

// bases are one scenario for each limit that can bind, of 20 to 40 calls a second, so that the machine binds nothing.
func bases() []scenario {
	api := func(requests, input, output int64) simulator.Options {
		return simulator.Options{
			RequestsPerMinute: requests, InputTokensPerMinute: input, OutputTokensPerMinute: output,
			Latency: limitsLatency, LatencySigma: limitsSigma, TokenTime: limitsTokenTime,
		}
	}
	small := workload{promptTokens: 60, maxTokens: 200}
	output := scenario{name: "output", binding: ofOutput, api: api(10_000, 10_000_000, 720_000), workload: workload{promptTokens: 60, maxTokens: 1000}}
	output.api.AnswerTokens = 400
	return []scenario{
		{name: "requests", binding: ofRequests, api: api(1200, 2_000_000, 400_000), workload: small},
		{name: "input", binding: ofInput, api: api(10_000, 3_600_000, 2_000_000), workload: workload{promptTokens: 2000, maxTokens: 200}},
		output,
		{
			name: "mixed", binding: ofInput, api: api(10_000, 3_600_000, 2_000_000),
			// The largest prompt is a third of what the bucket of the shortest burst holds: it can always pass.
			workload: workload{promptTokens: 1000, promptSigma: 1, mostPrompt: 20_000, maxTokens: 200, maxSigma: 0.8, mostAnswer: 4000},
		},
	}
}

func scenarios() []scenario {
	var all []scenario
	for _, base := range bases() {
		for _, burst := range []time.Duration{time.Second, 5 * time.Second, time.Minute} {
			s := base
			s.api.Burst = burst
			s.name = fmt.Sprintf("%s/burst%gs", base.name, burst.Seconds())
			all = append(all, told(s), untold(s))
		}
	}
	base := bases()[0]
	base.api.Burst = 5 * time.Second
	shared, halved := base, base
	shared.name, shared.other = "other-user", true
	halved.name, halved.halved = "halved", true
	for _, s := range []scenario{told(shared), untold(shared)} {
		s.goals = sharedGoals
		all = append(all, s)
	}
	for _, s := range []scenario{told(halved), untold(halved)} {
		s.goals = changedGoals
		all = append(all, s)
	}
	fast := base
	fast.name, fast.fast, fast.api.RequestsPerMinute = "fast", true, 60_000
	fast.api.InputTokensPerMinute, fast.api.OutputTokensPerMinute = 100_000_000, 100_000_000 // far away
	fast.api.Burst, fast.api.TokenTime = time.Second, 0
	all = append(all, told(fast))
	for _, which := range []simulator.LimitHeaders{simulator.LimitHeadersSilent, simulator.LimitHeadersJump, simulator.LimitHeadersNonsense} {
		s := untold(base)
		s.name, s.api.LimitHeaders = "hostile/"+string(which), which
		all = append(all, s)
	}
	return all
}

func told(s scenario) scenario {
	s.name += "/headers"
	s.goals = toldGoals
	if s.binding == ofOutput {
		// Output is charged when an answer ends: before the first have, nothing can be seen of how well the limit is used.
		s.warm = time.Duration(math.Ceil(s.meanCall())) * time.Second
	}
	return s
}

func untold(s scenario) scenario {
	s.name += "/none"
	s.api.LimitHeaders = simulator.LimitHeadersNone
	s.warm, s.goals = untoldWarm, untoldGoals
	return s
}

// rate is the binding limit a second.
func (s scenario) rate() float64 {
	switch s.binding {
	case ofInput:
		return float64(s.api.InputTokensPerMinute) / 60
	case ofOutput:
		return float64(s.api.OutputTokensPerMinute) / 60
	default:
		return float64(s.api.RequestsPerMinute) / 60
	}
}

// used is how much of the binding limit a simulator has let through.
func (s scenario) used(stats simulator.Stats) float64 {
	switch s.binding {
	case ofInput:
		return float64(stats.ChargedInputTokens)
	case ofOutput:
		return float64(stats.ChargedOutputTokens)
	default:
		return float64(stats.Admitted)
	}
}

// meanAnswer is about how many tokens an answer has: the simulator's answers spread lognormally, with a sigma of 0.6.
func (s scenario) meanAnswer() float64 {
	median := float64(s.api.AnswerTokens)
	if median == 0 {
		median = 60
	}
	return min(median*math.Exp(0.6*0.6/2), s.workload.maxTokens)
}

// callsPerSecond is about what the limit lets through.
func (s scenario) callsPerSecond() float64 {
	switch s.binding {
	case ofInput:
		return s.rate() / s.workload.meanPrompt()
	case ofOutput:
		return s.rate() / s.meanAnswer()
	default:
		return s.rate()
	}
}

// slots is how many calls each worker may make at once: together several times as many as the limit needs, so that it is
// the limit that binds.
func (s scenario) slots(workers int) int {
	return max(32, int(math.Ceil(4*s.callsPerSecond()*s.meanCall()/float64(workers))))
}

// meanCall is about how many seconds a call takes.
func (s scenario) meanCall() float64 {
	return limitsLatency.Seconds()*math.Exp(limitsSigma*limitsSigma/2) + limitsTokenTime.Seconds()*s.meanAnswer()
}

// records is more than the limit lets through in this time, what its bucket holds included.
func (s scenario) records(lasts time.Duration) int {
	return 1000 + int(1.5*s.callsPerSecond()*(lasts+s.api.Burst).Seconds())
}
