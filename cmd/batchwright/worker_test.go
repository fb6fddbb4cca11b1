package main

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/messages"
)

// G8: a worker's credential goes to the very addresses that it was started with. An address is another one as soon as
// it is written in another way: what two parsers may read differently is not compared.
func TestSameURL(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		started, asked string
		want           bool
	}{
		"the same":                        {"https://api.example", "https://api.example", true},
		"a slash at the end":              {"https://api.example", "https://api.example/", true},
		"a slash at the end of the other": {"https://api.example/", "https://api.example", true},
		"the same path":                   {"https://api.example/proxy", "https://api.example/proxy/", true},
		"the same port":                   {"http://127.0.0.1:8787", "http://127.0.0.1:8787", true},

		"another host":                   {"https://api.example", "https://evil.example", false},
		"another scheme":                 {"https://api.example", "http://api.example", false},
		"another port":                   {"https://api.example", "https://api.example:8443", false},
		"the scheme's own port":          {"https://api.example", "https://api.example:443", false},
		"a port that begins alike":       {"http://127.0.0.1:80", "http://127.0.0.1:8080", false},
		"a host that begins alike":       {"https://api.example", "https://api.example.evil.example", false},
		"a host that ends alike":         {"https://api.example", "https://evil-api.example", false},
		"a trailing dot":                 {"https://api.example", "https://api.example.", false},
		"upper case":                     {"https://api.example", "https://API.example", false},
		"upper case of the scheme":       {"https://api.example", "HTTPS://api.example", false},
		"as the user of another host":    {"https://api.example", "https://api.example@evil.example", false},
		"with a user":                    {"https://api.example", "https://user@api.example", false},
		"with user and password":         {"https://api.example", "https://user:pw@api.example", false},
		"as the path of another":         {"https://api.example", "https://evil.example/https://api.example", false},
		"a longer path":                  {"https://api.example", "https://api.example/proxy", false},
		"a shorter path":                 {"https://api.example/proxy", "https://api.example", false},
		"a path that leads back":         {"https://api.example", "https://api.example/x/..", false},
		"a slash that is escaped":        {"https://api.example/a/b", "https://api.example/a%2Fb", false},
		"a backslash":                    {"https://api.example", `https://api.example\@evil.example`, false},
		"a query":                        {"https://api.example", "https://api.example?x", false},
		"a fragment":                     {"https://api.example", "https://api.example#@evil.example", false},
		"a space before":                 {"https://api.example", " https://api.example", false},
		"a newline after":                {"https://api.example", "https://api.example\n", false},
		"a NUL after":                    {"https://api.example", "https://api.example\x00", false},
		"none":                           {"https://api.example", "", false},
		"only a slash":                   {"https://api.example", "/", false},
		"without a scheme":               {"https://api.example", "//api.example", false},
		"another way to write the host":  {"http://127.0.0.1:8787", "http://2130706433:8787", false},
		"another way to write the port":  {"http://127.0.0.1:8787", "http://127.0.0.1:08787", false},
		"a letter that looks alike":      {"https://api.example", "https://\u0430pi.example", false},
		"a name for the address":         {"http://127.0.0.1:8787", "http://localhost:8787", false},
		"the template of a secret in it": {"https://api.example", "https://${ANTHROPIC_API_KEY}@api.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sameURL(row.started, row.asked); got != row.want {
				t.Errorf("%q for a worker of %q: %t", row.asked, row.started, got)
			}
		})
	}
}

// G8: whether a worker makes a run's calls is decided by its terms alone, and no refusal shows a credential, be it the
// worker's or one in an address.
func TestCallerOfTerms(t *testing.T) {
	t.Parallel()
	const key, password = "canary-of-the-worker", "canary-of-an-address"
	started := []string{"https://api.example", "http://127.0.0.1:8787/proxy/"}
	for name, row := range map[string]struct {
		terms courier.Terms
		want  string // in the refusal; empty for none
	}{
		"the first address":    {courier.Terms{BaseURL: "https://api.example"}, ""},
		"the second address":   {courier.Terms{BaseURL: "http://127.0.0.1:8787/proxy"}, ""},
		"everything given":     {courier.Terms{BaseURL: "https://api.example", APIVersion: "2023-06-01", Beta: []string{"a-1"}, Timeout: time.Hour}, ""},
		"another address":      {courier.Terms{BaseURL: "https://evil.example/v2"}, `"https://evil.example/v2", and this worker sends its credential only to https://api.example, http`},
		"none":                 {courier.Terms{}, `go to ""`},
		"a file":               {courier.Terms{BaseURL: "file:///etc/passwd"}, `"file:///etc/passwd"`},
		"a password in it":     {courier.Terms{BaseURL: "https://user:" + password + "@evil.example"}, `"https://evil.example"`},
		"a secret in a query":  {courier.Terms{BaseURL: "https://evil.example/?key=" + password}, `"https://evil.example/"`},
		"no URL":               {courier.Terms{BaseURL: "https://evil.example/%zz" + password}, "no URL"},
		"a long one":           {courier.Terms{BaseURL: "https://evil.example/" + strings.Repeat("x", 1<<20)}, `xxx", and`},
		"a header in another":  {courier.Terms{BaseURL: "https://api.example", APIVersion: "1\r\nHost: evil.example"}, "header value"},
		"a header in the beta": {courier.Terms{BaseURL: "https://api.example", Beta: []string{"1\r\nHost: evil.example"}}, "header value"},
		"no time for a call":   {courier.Terms{BaseURL: "https://api.example", Timeout: -1}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &workerFlags{baseURLs: started, secret: messages.NewSecret(key), concurrency: 1}
			caller, err := f.caller(row.terms)
			switch {
			case row.want == "" && (err != nil || caller == nil):
				t.Fatalf("no caller: %v", err)
			case row.want == "":
				caller.Close()
				return
			case err == nil:
				t.Fatal("the worker would make the calls")
			}
			holds(t, err.Error(), row.want)
			if text := err.Error(); strings.Contains(text, key) || strings.Contains(text, password) || len(text) > 1000 {
				t.Errorf("refusal of %d bytes: %.1000s", len(text), text)
			}
		})
	}
}

// A drain lasts longer than any call that the worker may have in flight, whatever Redis says of timeouts, unless the
// person who started the worker said how long.
func TestGrace(t *testing.T) {
	t.Parallel()
	const api = "https://api.example"
	terms := func(timeouts ...time.Duration) (all []courier.Terms) {
		for _, timeout := range timeouts {
			all = append(all, courier.Terms{BaseURL: api, Timeout: timeout})
		}
		return all
	}
	for name, row := range map[string]struct {
		grace time.Duration // --grace
		terms []courier.Terms
		want  time.Duration
	}{
		"no run":                          {0, nil, drainSlack},
		"one run":                         {0, terms(10 * time.Minute), 10*time.Minute + drainSlack},
		"the longest of several":          {0, terms(time.Minute, time.Hour, time.Second), time.Hour + drainSlack},
		"none said: the API's own":        {0, terms(0, time.Second), messages.DefaultTimeout + drainSlack},
		"a run that is refused":           {0, append(terms(time.Minute), courier.Terms{BaseURL: "https://evil.example", Timeout: time.Hour}), time.Minute + drainSlack},
		"terms that make no call":         {0, append(terms(time.Minute), courier.Terms{BaseURL: api, Timeout: time.Hour, APIVersion: "\n"}), time.Minute + drainSlack},
		"a negative one":                  {0, terms(-time.Hour, time.Minute), time.Minute + drainSlack},
		"as long as there is":             {0, terms(math.MaxInt64), math.MaxInt64},
		"--grace below the longest call":  {5 * time.Second, terms(time.Hour), 5 * time.Second},
		"--grace above the longest call":  {2 * time.Hour, terms(time.Minute), 2 * time.Hour},
		"--grace and no run":              {time.Second, nil, time.Second},
		"--grace and a timeout of ages":   {time.Second, terms(math.MaxInt64), time.Second},
		"--grace of 0 leaves the default": {0, terms(time.Minute), time.Minute + drainSlack},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &workerFlags{baseURLs: []string{api}, grace: row.grace, secret: messages.NewSecret("key"), concurrency: 1}
			for i := range row.terms {
				if caller, err := f.caller(row.terms[i]); err == nil {
					caller.Close()
				}
			}
			if got := f.graceNow(); got != row.want {
				t.Errorf("a drain may take %s, want %s", got, row.want)
			}
		})
	}
}

// G8: an address that no call can be made to, or that holds a password, is refused at the start, before a log line
// could show it.
func TestWorkerRefusesAddresses(t *testing.T) {
	t.Parallel()
	const password = "canary-of-an-address"
	for name, row := range map[string]struct{ address, want string }{
		"empty":         {"", "--base-url is empty"},
		"no scheme":     {"gateway.example", "write it as https://host"},
		"with password": {"https://user:" + password + "@gateway.example", "holds a credential"},
		"with a key":    {"https://gateway.example?key=" + password, "leave out what follows ?"},
		"no URL":        {"https://gateway.example/%zz" + password, "not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			binary, err := crashBinary()
			if err != nil {
				t.Fatal(err)
			}
			// One that is not refused waits for this Redis for ever.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			command := exec.CommandContext(ctx, binary, "worker", "--redis", "redis://127.0.0.1:1",
				"--base-url", "https://api.example", "--base-url", row.address)
			command.Env = append(os.Environ(), "ANTHROPIC_API_KEY=secret")
			said, err := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code != exitUsage {
				t.Errorf("the worker ended with %v, want exit code %d", err, exitUsage)
			}
			holds(t, string(said), row.want)
			if strings.Contains(string(said), password) {
				t.Errorf("what may be a credential is shown: %s", said)
			}
		})
	}
}

// The second signal ends a worker that Redis has left with results which nobody takes: its calls are cut, and it waits
// for Redis a few seconds more, not as long as a call may take.
func TestSecondSignalEndsWorker(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	called := make(chan struct{})
	once := sync.OnceFunc(func() { close(called) })
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server would not see the client go
		once()
		<-r.Context().Done()
	}))
	t.Cleanup(api.Close)
	owner, err := courier.Own(t.Context(), server.Client, "r1", 0, courier.OwnerOptions{Terms: courier.Terms{BaseURL: api.URL, MaxAttempts: 8}})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"model":"m","max_tokens":1}`)
	if err := owner.HandOut(t.Context(), owner.Next(), []jobs.Request{{Digest: jobs.DigestOf(body), Body: body}}, courier.New); err != nil {
		t.Fatal(err)
	}
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	draining := make(chan struct{})
	log := &watchedLog{marks: map[string]chan struct{}{"draining": draining}}
	command := exec.CommandContext(t.Context(), binary, "worker", "--redis", server.URL, "--base-url", api.URL)
	command.Env, command.Stderr = append(os.Environ(), "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_CRASH_AT="), log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	wait := func(what string, reached <-chan struct{}) {
		select {
		case <-reached:
		case err := <-ended:
			t.Fatalf("the worker ended before %s: %v\n%s", what, err, log.text.String())
		case <-time.After(time.Minute):
			t.Fatalf("no %s after a minute", what)
		}
	}
	wait("its call", called)
	if err := owner.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	for range 2 {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		wait("it drains", draining)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the worker ended with %v:\n%s", err, log.text.String())
		}
	case <-time.After(30 * time.Second):
		t.Error("the worker is there 30 s after the second signal")
	}
}
