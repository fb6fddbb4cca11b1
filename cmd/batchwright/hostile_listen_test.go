package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// listenForNothing listens where nobody is to connect. heard returns all bytes that came, after those of the test
// itself, which show that they would have been heard.
func listenForNothing(t *testing.T) (addr string, heard func() string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []byte
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test ends
			}
			serving.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(t.Context(), func() { conn.Close() })
				defer stop()
				buffer := make([]byte, 1<<16)
				for {
					n, err := conn.Read(buffer)
					mu.Lock()
					all = append(all, buffer[:n]...)
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().String(), func() string {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "control")
		err = errors.Join(err, conn.(*net.TCPConn).CloseWrite())
		_, readErr := io.Copy(io.Discard, conn) // until all was heard
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return string(all)
	}
}

// heedfulAPI is a Messages API that keeps what it was asked under which credential. It answers "redirect CODE" by sending
// the caller to the attacker, and the calls of the honest run when they are admitted.
type heedfulAPI struct {
	addr        string
	admitHonest chan struct{}

	mu    sync.Mutex
	calls []heededCall
}

type heededCall struct{ credential, body string }

func newHeedfulAPI(t *testing.T, attacker string) *heedfulAPI {
	t.Helper()
	a := &heedfulAPI{admitHonest: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the worker is dead
		}
		a.mu.Lock()
		a.calls = append(a.calls, heededCall{r.Header.Get("Authorization"), string(body)})
		a.mu.Unlock()
		var code int
		if _, place, found := strings.Cut(string(body), "redirect "); found {
			if _, err := fmt.Sscan(place, &code); err == nil {
				w.Header().Set("Location", "http://"+attacker+"/v1/messages")
				w.WriteHeader(code)
				return
			}
		}
		if strings.Contains(string(body), "honest") {
			select {
			case <-a.admitHonest:
			case <-r.Context().Done():
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],`+
			`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}`)
	}))
	t.Cleanup(server.Close)
	a.addr = server.Listener.Addr().String()
	return a
}

// await waits until a call has a text in its body.
func (a *heedfulAPI) await(t *testing.T, worker *workerProcess, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		a.mu.Lock()
		came := slices.ContainsFunc(a.calls, func(c heededCall) bool { return strings.Contains(c.body, text) })
		a.mu.Unlock()
		if came {
			return
		}
		select {
		case <-tick.C:
		case <-worker.ended:
			t.Fatalf("the worker ended before the call %q:\n%s", text, worker.end())
		case <-deadline:
			t.Fatalf("no call %q after 30 s:\n%s", text, worker.end())
		}
	}
}

// endOfWiretap ends a wiretap when Redis is told it.
const endOfWiretap = "end of wiretap"

// wiretap listens to all that a Redis is told. What it returns waits until it has heard the end, and returns the
// commands that hold a secret.
func wiretap(t *testing.T, addr, secret string) func(error) []string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 64<<20)
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil || !lines.Scan() || lines.Text() != "+OK" {
		t.Fatalf("monitor: %v, %q, %v", err, lines.Text(), lines.Err())
	}
	var leaks []string
	ended := make(chan error, 1)
	go func() {
		for lines.Scan() {
			if strings.Contains(lines.Text(), secret) {
				leaks = append(leaks, lines.Text())
			}
			if strings.Contains(lines.Text(), endOfWiretap) {
				ended <- nil
				return
			}
		}
		ended <- fmt.Errorf("monitor ended: %w", errors.Join(lines.Err(), io.EOF))
	}()
	return func(err error) []string {
		t.Helper()
		if err := errors.Join(err, <-ended); err != nil {
			t.Fatal(err)
		}
		return leaks
	}
}
