// Package simulator is a Messages API that needs no key and costs nothing: with it a job is rehearsed before it is paid
// for, and everything that calls the API is tested.
//
// It promises the service's contract as far as a batch job meets it: POST /v1/messages with validation, usage, prompt
// caching and streams, /v1/messages/count_tokens, /v1/models, rate limits with the service's headers (or without), and its error
// shapes; and on demand what goes wrong in practice: latency, slow and hung calls, errors, broken answers, outages,
// refusals, truncation, a spend cap. Answers fit the request, have ids that begin with msg_sim, so that nobody takes
// them for a model's, and depend on nothing but its body. All of it is one http.Handler, safe for concurrent use, that
// keeps time only through package time and starts no goroutines, so that it also works within testing/synctest.
package simulator

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/batchwright/batchwright/jobs"
)

// Simulator is a simulated Messages API.
type Simulator struct {
	options  Options
	start    time.Time
	limiter  *limiter
	working  chan struct{} // has one for each call worked on; nil: any number of them
	cache    promptCache
	schemas  schemaCache
	counters counters
	// accepted counts the calls that reached the spend cap's account.
	accepted atomic.Int64
	requests atomic.Uint64
	// nonce makes request ids of different simulators differ.
	nonce string
}

// New returns a simulator; its outages and limits count from now. Options must pass their Validate.
func New(options Options) *Simulator {
	s := &Simulator{options: options, start: time.Now(), nonce: strings.ToLower(rand.Text()[:10])}
	s.limiter = newLimiter(&options, s.start)
	if options.Parallel > 0 {
		s.working = make(chan struct{}, options.Parallel)
	}
	if options.Record {
		s.counters.byDigest = map[jobs.Digest]int{}
	}
	return s
}

// SetLimits changes the limits of requests, input and output tokens per minute while calls go on, as an account's limits change;
// 0 takes one away. What a bucket holds stays, as far as the new limit has room for it, and so does a debt; a limit that
// was not there begins with a full bucket.
func (s *Simulator) SetLimits(requests, input, output int64) {
	s.limiter.set(time.Now(), requests, input, output)
}

// StatsPath is where a simulator serves its Stats as JSON, without a key.
const StatsPath = "/simulator/stats"

// ServeHTTP answers one call. It ends with panic(http.ErrAbortHandler), as package http has it, where the connection
// shall break: for the faults that say so and when the client has gone away.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, start: time.Now()}
	c.nameRequest()
	switch path := r.URL.Path; {
	case path == "/v1/messages":
		if c.method(http.MethodPost) {
			c.messages()
		}
	case path == "/v1/messages/count_tokens":
		if c.method(http.MethodPost) {
			c.countTokens()
		}
	case path == "/v1/models":
		if c.method(http.MethodGet) && c.authorized() {
			c.document(http.StatusOK, appendModels(nil))
		}
	case strings.HasPrefix(path, "/v1/models/"):
		if c.method(http.MethodGet) && c.authorized() {
			c.model(strings.TrimPrefix(path, "/v1/models/"))
		}
	case path == StatsPath:
		if c.method(http.MethodGet) {
			c.stats()
		}
	default:
		c.fail(&problem{status: http.StatusNotFound, message: "Not found: " + path})
	}
}

func (c *call) model(name string) {
	if p := c.s.checkModel(name); p != nil {
		c.fail(p)
		return
	}
	c.document(http.StatusOK, appendModel(nil, name))
}

func (c *call) stats() {
	body, err := json.MarshalIndent(c.s.Stats(), "", "  ")
	if err != nil {
		c.fail(&problem{status: http.StatusInternalServerError, message: err.Error()})
		return
	}
	c.document(http.StatusOK, append(body, '\n'))
}

// buffers hold bodies on their way in and out.
var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 4096)) }}

// keptBuffer bounds what the pool keeps, so that a few huge bodies do not stay.
const keptBuffer = 1 << 20

func putBuffer(b *[]byte) {
	if cap(*b) <= keptBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}
