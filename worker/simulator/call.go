package simulator

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/jobs"
)

// maxBody is the service's limit of a request's body.
const maxBody = 32 << 20

// organization is the id that answers carry; there is only one.
var organization = []string{"00000000-0000-4000-8000-000000000001"}

// call is one HTTP call from start to end.
type call struct {
	s     *Simulator
	w     http.ResponseWriter
	r     *http.Request
	start time.Time
	// begun is when the work on it began: its start, unless it had to queue.
	begun time.Time
	id    string
	draws draw
	// counted is set for POST /v1/messages: only those stand in Stats.
	counted bool
}

func (c *call) nameRequest() {
	c.id = "req_sim" + c.s.nonce + strconv.FormatUint(c.s.requests.Add(1), 36)
	h := c.w.Header()
	h["Request-Id"] = []string{c.id}
	h["Anthropic-Organization-Id"] = organization
}

func (c *call) method(allowed string) bool {
	if c.r.Method == allowed {
		return true
	}
	c.w.Header().Set("Allow", allowed)
	c.fail(&problem{status: http.StatusMethodNotAllowed, message: c.r.URL.Path + " takes " + allowed + " only"})
	return false
}

func (c *call) authorized() bool {
	scheme, key, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	key = strings.TrimSpace(key)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || key == "":
		c.fail(&problem{status: http.StatusUnauthorized, message: "Send a key as Authorization: Bearer KEY"})
	case c.s.options.Key != "" && key != c.s.options.Key:
		c.fail(&problem{status: http.StatusUnauthorized, message: "Invalid bearer token"})
	default:
		return true
	}
	return false
}

// messages answers POST /v1/messages.
func (c *call) messages() {
	s := c.s
	c.counted = true
	c.draws = draw(s.options.Seed ^ s.counters.begin()<<20)
	defer s.counters.end()
	if !c.authorized() {
		return
	}
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	body, p := c.readBody(buffer)
	if p != nil {
		c.fail(p)
		return
	}
	if kind := s.options.Outages.at(c.start.Sub(s.start)); kind != "" {
		c.fault(kind, nil, nil)
		return
	}
	digest := jobs.DigestOf(body)
	req, p := s.parseRequest(string(body), c.r.Header, false)
	if p != nil {
		c.fail(p)
		return
	}
	*buffer = body[:0] // read and copied: the answer can have its room
	a := s.compose(req, digest)
	now := time.Now()
	output := a.usage
	a.usage = s.cache.usage(&req.prompt, minCached(req.model.Str), now)
	a.usage.output, a.usage.thinking = output.output, output.thinking
	if p := c.admit(a.usage, now); p != nil {
		c.fail(p)
		return
	}
	kind := s.options.Deterministic.pick(new(draw(binary.LittleEndian.Uint64(digest[8:]) + 1)))
	if drawn := s.options.Errors.pick(&c.draws); kind == "" {
		kind = drawn
	}
	if kind != "" && early(kind) {
		c.fault(kind, req, a)
		return
	}
	c.queue()
	defer c.leave()
	if !c.wait(c.latency(req, a)) {
		c.abandon()
	}
	if kind != "" {
		c.fault(kind, req, a)
		return
	}
	s.cache.learn(&req.prompt, minCached(req.model.Str), time.Now())
	if req.stream {
		c.stream(newStream((*buffer)[:0], req, a), a.usage)
	} else {
		s.limiter.produced(time.Now(), a.usage.output)
		*buffer = appendMessage((*buffer)[:0], req, a)
		c.document(http.StatusOK, *buffer)
	}
	s.counters.message(digest, a.usage)
}

// countTokens answers POST /v1/messages/count_tokens.
func (c *call) countTokens() {
	if !c.authorized() {
		return
	}
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	body, p := c.readBody(buffer)
	if p != nil {
		c.fail(p)
		return
	}
	req, p := c.s.parseRequest(string(body), c.r.Header, true)
	if p != nil {
		c.fail(p)
		return
	}
	c.document(http.StatusOK, append(strconv.AppendInt([]byte(`{"input_tokens":`), int64(req.prompt.input()), 10), '}'))
}

// readBody reads the request's body into the buffer.
func (c *call) readBody(buffer *[]byte) ([]byte, *problem) {
	tooLarge := &problem{status: http.StatusRequestEntityTooLarge, message: "Request exceeds the maximum size of 32 MB"}
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		p := invalid("content-encoding: %s is not supported", encoding)
		p.code = "request_body_encoding_unsupported"
		return nil, p
	}
	switch size := c.r.ContentLength; {
	case size > maxBody:
		return nil, tooLarge
	case size >= 0:
		*buffer = slices.Grow((*buffer)[:0], int(size))[:size]
		if _, err := io.ReadFull(c.r.Body, *buffer); err != nil {
			return nil, invalid("The request body ended early")
		}
	default:
		body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return nil, tooLarge
		}
		if err != nil {
			return nil, invalid("The request body ended early")
		}
		*buffer = body
	}
	return *buffer, nil
}

// admit holds the call to the rate limits and to the spend cap.
func (c *call) admit(u usage, now time.Time) *problem {
	s := c.s
	if refused, ok := s.limiter.admit(now, u.charged()); !ok {
		return &problem{
			status:     http.StatusTooManyRequests,
			message:    "This request would exceed " + refused.limit,
			code:       refused.code,
			retryAfter: int64((refused.wait + time.Second - 1) / time.Second),
		}
	}
	if cap := s.options.SpendCap; cap > 0 && s.accepted.Add(1) > cap {
		if s.options.SpendCapStatus == http.StatusBadRequest {
			return invalid("You have reached your specified API usage limits. You will regain access when the month is over.")
		}
		return &problem{
			status:  http.StatusTooManyRequests,
			message: "You have reached the monthly spend limit of your tier",
			code:    "enforced_spend_limit_reached",
		}
	}
	return nil
}

// queue waits, in the order of arrival, until the server has room to work on the call.
func (c *call) queue() {
	c.begun = c.start
	if c.s.working == nil {
		return
	}
	select { // the runtime serves those who wait for room in a channel in their order
	case c.s.working <- struct{}{}:
		c.begun = time.Now()
	case <-c.r.Context().Done():
		c.abandon()
	}
}

// leave makes room for the next call.
func (c *call) leave() {
	if c.s.working != nil {
		<-c.s.working
	}
}

// latency draws how long the call takes from when the work on it begins until its answer, or its stream, begins; less than 0 is forever.
func (c *call) latency(req *request, a *answer) time.Duration {
	o := &c.s.options
	d := float64(o.Latency)
	if o.LatencySigma > 0 {
		d = c.draws.lognormal(d, o.LatencySigma)
	}
	if !req.stream {
		d += float64(o.TokenTime) * float64(a.usage.output)
	}
	if o.Slow > 0 && c.draws.hits(o.Slow) {
		factor := o.SlowFactor
		if factor == 0 {
			factor = 10
		}
		d *= factor
	}
	if o.Hang > 0 && c.draws.hits(o.Hang) {
		return -1
	}
	return time.Duration(min(d, float64(math.MaxInt64/2)))
}

// wait waits until the call has been worked on for so long, and reports whether its client is still there.
func (c *call) wait(age time.Duration) bool {
	if age < 0 {
		<-c.r.Context().Done()
		return false
	}
	left := time.Until(c.begun.Add(age))
	if age == 0 || left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.r.Context().Done():
		return false
	}
}

// abandon ends a call whose client has gone away.
func (c *call) abandon() {
	c.s.counters.abandoned.Add(1)
	panic(http.ErrAbortHandler)
}
