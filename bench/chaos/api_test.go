package chaos

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

// call is one call of the Messages API, as the API saw it.
type call struct {
	record   int64
	key      string // the caller's credential: each incarnation of a process has its own
	began    time.Time
	ended    time.Time // zero while it is in flight
	answered bool      // with a complete message: what the service would bill
}

// api is the simulator, with an account of who called for which record, and when.
type api struct {
	url string
	// dragging makes each call take this much longer, while the faults are behind their schedule.
	dragging atomic.Int64
	// stays picks calls that are never answered; others it may hold up. May be nil.
	stays func(record int64, key string) bool

	mu       sync.Mutex
	calls    []call
	answers  map[int64]int // answers to each record
	inFlight map[string]int
}

// recordIn finds the record's number in a request's prompt.
var recordIn = regexp.MustCompile(`record (\d+):`)

func newAPI() *api { return &api{answers: map[int64]int{}, inFlight: map[string]int{}} }

func startAPI(t *testing.T, options simulator.Options, stays func(record int64, key string) bool) *api {
	t.Helper()
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	a := newAPI()
	a.stays = stays
	service := simulator.New(options)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, service) }))
	a.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return a
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, service http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	found := recordIn.FindSubmatch(body)
	if r.URL.Path != "/v1/messages" || found == nil { // a probe, for no record
		r.Body = io.NopCloser(bytes.NewReader(body))
		service.ServeHTTP(w, r)
		return
	}
	record, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		panic(err)
	}
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	n := a.begin(record, key)
	reply := &reply{ResponseWriter: w, status: http.StatusOK}
	complete := false
	defer func() { a.end(n, complete && reply.status == http.StatusOK) }()
	if a.stays != nil && a.stays(record, key) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	if drag := time.Duration(a.dragging.Load()); drag > 0 {
		timer := time.NewTimer(drag)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	service.ServeHTTP(reply, r)
	complete = true
}

// begin books a call and returns its number.
func (a *api) begin(record int64, key string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, call{record: record, key: key, began: time.Now()})
	a.inFlight[key]++
	return len(a.calls) - 1
}

// end books the end of a call.
func (a *api) end(n int, answered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &a.calls[n]
	c.ended, c.answered = time.Now(), answered
	if answered {
		a.answers[c.record]++
	}
	a.inFlight[c.key]--
}

// reply notes the status of an answer.
type reply struct {
	http.ResponseWriter
	status int
}

func (r *reply) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// answered counts the records that have an answer.
func (a *api) answered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.answers)
}

// open counts the calls in flight of the callers with these credentials, of all when there are none.
func (a *api) open(keys ...string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for key, open := range a.inFlight {
		if len(keys) == 0 {
			n += open
		}
		for _, one := range keys {
			if key == one {
				n += open
			}
		}
	}
	return n
}

// all returns every call so far, in the order in which they began.
func (a *api) all() []call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]call(nil), a.calls...)
}
