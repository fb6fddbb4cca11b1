package simulator

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"time"
)

// The content types of answers.
var (
	typeJSON   = []string{"application/json"}
	typeStream = []string{"text/event-stream; charset=utf-8"}
	typeHTML   = []string{"text/html; charset=utf-8"}
)

// header sends the status and the rate limits' headers.
func (c *call) header(status int, contentType []string) {
	h := c.w.Header()
	h["Content-Type"] = contentType
	if c.counted {
		c.limitHeaders(h, time.Now())
		c.s.counters.byStatus[status].Add(1)
	}
	c.w.WriteHeader(status)
}

// document answers with one JSON document.
func (c *call) document(status int, body []byte) {
	c.w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.header(status, typeJSON)
	c.write(body)
}

// write sends bytes of the body; a client that does not take them has gone away.
func (c *call) write(body []byte) {
	if _, err := c.w.Write(body); err != nil { //nolint:gosec // what comes back of the request stands in JSON, sent as such
		c.abandon()
	}
}

// flush sends what is written so far.
func (c *call) flush() {
	if err := http.NewResponseController(c.w).Flush(); err != nil {
		c.abandon()
	}
}

// fail answers with an error.
func (c *call) fail(p *problem) {
	if p.retryAfter > 0 && c.s.options.LimitHeaders != LimitHeadersSilent {
		c.w.Header()["Retry-After"] = decimal(p.retryAfter)
	}
	c.document(p.status, p.appendError(nil, c.id))
}

// stream sends a stream, as slowly as its tokens come, and charges them as they do.
func (c *call) stream(st *stream, u usage) {
	c.w.Header()["Cache-Control"] = []string{"no-cache"}
	c.header(http.StatusOK, typeStream)
	if token := c.s.options.TokenTime; token > 0 {
		sent := 0
		for _, p := range st.pauses {
			c.write(st.body[sent:p.at])
			c.flush()
			sent = p.at
			c.s.limiter.produced(time.Now(), p.tokens)
			u.output -= p.tokens
			if !c.wait(time.Since(c.start) + token*time.Duration(p.tokens)) {
				c.abandon()
			}
		}
		st.body = st.body[sent:]
	}
	c.s.limiter.produced(time.Now(), u.output)
	c.write(st.body)
	c.flush()
}

// fault lets the call meet a fault. In an outage there is neither a request nor an answer to break.
func (c *call) fault(kind string, req *request, a *answer) {
	if status, err := strconv.Atoi(kind); err == nil {
		c.fail(problemOf(status))
		return
	}
	c.s.counters.broken.Add(1)
	streamed := req != nil && req.stream
	switch kind {
	case faultEmpty:
		c.header(http.StatusOK, typeJSON)
	case faultHTML:
		c.header(http.StatusOK, typeHTML)
		c.write([]byte("<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>Simulated fault.</body></html>\n"))
	case faultError200:
		if !streamed {
			c.document(http.StatusOK, []byte(`{"error":{"code":502,"message":"Simulated fault: provider returned an error"}}`))
			return
		}
		st := newStream(nil, req, a)
		st.body = st.body[:len(st.body)/2]
		st.body = append(st.body[:endOfEvent(st.body)], "event: error\n"...)
		st.body = append(st.body, "data: "...)
		st.body = problemOf(statusOverloaded).appendError(st.body, c.id)
		c.header(http.StatusOK, typeStream)
		c.write(append(st.body, "\n\n"...))
	case faultCut:
		c.cut(req, a, streamed)
	default:
		c.reset()
	}
}

// cut sends half of an answer. A document is then too short for its length; a stream breaks off within an event, or, in
// half of the cases, ends in order but too soon, as gateways let it.
func (c *call) cut(req *request, a *answer, streamed bool) {
	switch {
	case req == nil:
		c.reset()
	case streamed:
		body := newStream(nil, req, a).body
		body = body[:len(body)/2]
		c.header(http.StatusOK, typeStream)
		if c.draws.below(2) == 0 {
			c.write(body[:endOfEvent(body)])
			return
		}
		c.write(body)
	default:
		body := appendMessage(nil, req, a)
		c.w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		c.header(http.StatusOK, typeJSON)
		c.write(body[:len(body)/2])
	}
	c.flush()
	panic(http.ErrAbortHandler)
}

// endOfEvent is where the last whole event of a stream's beginning ends.
func endOfEvent(body []byte) int { return bytes.LastIndex(body, []byte("\n\n")) + 2 }

// reset breaks the connection without an answer: with a TCP reset where there is TCP.
func (c *call) reset() {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the connection closes in order, which is as good
	}
	_ = conn.Close()
}
