package messages

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/batchwright/batchwright/jobs"
)

// Kind is what to do after a call.
type Kind int

// The kinds of verdict.
const (
	// Answered: the body is a complete Message.
	Answered Kind = iota + 1
	// Retry: the attempt failed and counts; try again after exponential backoff, and not before Wait.
	Retry
	// RetryAfter: the API holds calls back. The attempt does not count; try again after Wait, or after a backoff
	// of the caller's own when Wait is 0. Pressure says which limit it was.
	RetryAfter
	// Rejected: the record failed, for Reason; the same request would be refused again.
	Rejected
	// Blocked: no call can succeed until a person does what Remedy says. No record fails.
	Blocked
	// Cancelled: the caller's own context ended the call. It may have been answered and billed.
	Cancelled
)

// String names the kind as the documentation does.
func (k Kind) String() string {
	switch k {
	case Answered:
		return "answered"
	case Retry:
		return "retry"
	case RetryAfter:
		return "retry after"
	case Rejected:
		return "rejected"
	case Blocked:
		return "blocked"
	case Cancelled:
		return "cancelled"
	default:
		return fmt.Sprintf("Kind(%d)", int(k))
	}
}

// Pressure says which limit held a call back.
type Pressure int

// The pressures of a RetryAfter verdict; any other verdict has NoPressure.
const (
	NoPressure Pressure = iota
	// Limited: a rate limit of the account (429); fewer calls pass.
	Limited
	// Ramping: usage grew too fast (429 ramp_limit_exceeded); the same rate passes when reached more slowly.
	Ramping
	// Overloaded: the service itself has too much to do (529); nothing that the account did.
	Overloaded
)

// String names the pressure.
func (p Pressure) String() string {
	switch p {
	case NoPressure:
		return "none"
	case Limited:
		return "limited"
	case Ramping:
		return "ramping"
	case Overloaded:
		return "overloaded"
	default:
		return fmt.Sprintf("Pressure(%d)", int(p))
	}
}

// Answer is all that is known of one call: what Classify judges.
type Answer struct {
	// Status is the HTTP status; 0 when no answer began.
	Status int
	Header http.Header
	// Body is the whole body; for a stream, the Message collected from it or its error event.
	Body []byte
	// Err says why there is no whole answer. An error that wraps context.Canceled means that the caller ended
	// the call.
	Err error
	// Now is the time to measure an HTTP-date in Retry-After against.
	Now time.Time
	// Secret is hidden wherever the server repeats it; it may be empty.
	Secret Secret
}

// Verdict is what an answer means. All its texts are one printable line without credentials.
type Verdict struct {
	Kind Kind
	// Wait is the least time to wait, as the server asked: 0 to MaxWait. Only Retry and RetryAfter have one.
	Wait time.Duration
	// Pressure is set when Kind is RetryAfter.
	Pressure Pressure
	// Limit is which limit refused the call, as far as its text says; set when Pressure is Limited.
	Limit Limit
	// Reason is why the record failed; set when Kind is Rejected.
	Reason jobs.Reason
	// Remedy tells a person in one sentence what to do; set when Kind is Blocked.
	Remedy string
	// Status is the HTTP status as received; 0 when there was none.
	Status int
	// Type is the API's error.type, or for failures below HTTP one of timeout, dns, refused, reset, tls, proxy,
	// incomplete, network. Empty when Answered.
	Type string
	// Code is the API's error.details.error_code, or a gateway's error.code that is a word.
	Code string
	// Message explains the failure in at most 300 bytes. Empty when Answered.
	Message string
	// RequestID is the server's name for the call, when it gave one.
	RequestID string
}

// String describes the verdict in one line for logs and errors.
func (v Verdict) String() string {
	parts := []string{v.Kind.String()}
	if v.Status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", v.Status))
	}
	for _, part := range []string{v.Type, v.Code, v.Message} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}
