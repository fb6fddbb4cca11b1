package messages_test

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchwright/batchwright/worker/messages"
)

// callInChild is the variable that turns this test binary into a program that makes one call, to the address in it:
// Go reads proxies and CAs from the environment once in a process.
const callInChild = "MESSAGES_TEST_CALL"

func TestCallInChild(t *testing.T) {
	address := os.Getenv(callInChild)
	if address == "" {
		return // only a child does this
	}
	c, err := messages.New(messages.Options{BaseURL: address, Secret: messages.NewSecret(key), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply := c.Call(t.Context(), []byte(request))
	t.Logf("verdict: %s; remedy: %s", reply, reply.Remedy)
}

// child makes one call in a process of its own and returns what that prints.
func child(t *testing.T, address string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCallInChild$", "-test.v")
	cmd.Env = append([]string{callInChild + "=" + address}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("child: %v", err)
	}
	return string(out)
}

// proxy forwards requests and CONNECT tunnels of any host to one server, and counts them.
func proxy(t *testing.T, to string, credentials string) (address string, passed *atomic.Int32) {
	t.Helper()
	passed = new(atomic.Int32)
	forward := func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI, r.URL.Host = "", to
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = res.Body.Close() }()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	}
	tunnel := func(w http.ResponseWriter) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = server.Close() }()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		done := make(chan struct{})
		go func() {
			_, _ = io.Copy(server, conn)
			_ = server.Close()
			close(done)
		}()
		_, _ = io.Copy(conn, server)
		_ = conn.Close()
		<-done
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if credentials != "" && r.Header.Get("Proxy-Authorization") != credentials {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		passed.Add(1)
		if r.Method == http.MethodConnect {
			tunnel(w)
			return
		}
		forward(w, r)
	}))
	t.Cleanup(func() {
		front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return front.URL, passed
}

// Proxies and CAs come from the environment, by the rules that every Go program has.
func TestCallThroughProxy(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(answer(200, message))
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(answer(200, message))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates are part of the test
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	plainHost, secureHost := strings.TrimPrefix(plain.URL, "http://"), strings.TrimPrefix(secure.URL, "https://")
	anyHost := strings.Replace(plain.URL, "127.0.0.1", "0.0.0.0", 1)
	const basic = "Basic bWU6aHVudGVyMg==" // me:hunter2

	for _, row := range []struct {
		name, to, credentials string
		address               string
		env                   func(proxy string) []string
		want                  string
		passed                int32
	}{
		{
			name: "HTTP_PROXY", to: plainHost, address: "http://api.test", want: "verdict: answered", passed: 1,
			env: func(p string) []string { return []string{"HTTP_PROXY=" + p} },
		},
		{
			// example.com is a name in the certificate of httptest.
			name: "HTTPS_PROXY and SSL_CERT_FILE", to: secureHost, address: "https://example.com", want: "verdict: answered", passed: 1,
			env: func(p string) []string { return []string{"HTTPS_PROXY=" + p, "SSL_CERT_FILE=" + ca} },
		},
		{
			name: "unknown CA", to: secureHost, address: "https://example.com", want: "SSL_CERT_FILE", passed: 1,
			env: func(p string) []string { return []string{"HTTPS_PROXY=" + p} },
		},
		{
			name: "other name in certificate", to: secureHost, address: "https://api.test", want: "verdict: blocked", passed: 1,
			env: func(p string) []string { return []string{"HTTPS_PROXY=" + p, "SSL_CERT_FILE=" + ca} },
		},
		{
			// 0.0.0.0 is this machine too, but not a loopback address, which Go never asks a proxy for.
			name: "NO_PROXY", to: plainHost, address: anyHost, want: "verdict: answered", passed: 0,
			env: func(p string) []string { return []string{"HTTP_PROXY=" + p, "NO_PROXY=0.0.0.0"} },
		},
		{
			name: "without NO_PROXY", to: plainHost, address: anyHost, want: "verdict: answered", passed: 1,
			env: func(p string) []string { return []string{"HTTP_PROXY=" + p} },
		},
		{
			name: "credentials in the proxy's URL", to: secureHost, credentials: basic, address: "https://example.com", want: "verdict: answered", passed: 1,
			env: func(p string) []string {
				return []string{"HTTPS_PROXY=" + strings.Replace(p, "//", "//me:hunter2@", 1), "SSL_CERT_FILE=" + ca}
			},
		},
		{
			name: "no credentials for CONNECT", to: secureHost, credentials: basic, address: "https://example.com", want: "the proxy asks for credentials",
			env: func(p string) []string { return []string{"HTTPS_PROXY=" + p} },
		},
		{
			name: "no credentials for HTTP", to: plainHost, credentials: basic, address: "http://api.test", want: "the proxy asks for credentials",
			env: func(p string) []string { return []string{"HTTP_PROXY=" + p} },
		},
		{
			name: "HTTPS to a server of HTTP", to: plainHost, address: "https://api.test", want: "speaks HTTP and not HTTPS", passed: 1,
			env: func(p string) []string { return []string{"HTTPS_PROXY=" + p} },
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			address, passed := proxy(t, row.to, row.credentials)
			out := child(t, row.address, row.env(address)...)
			if !strings.Contains(out, row.want) {
				t.Errorf("want %q in:\n%s", row.want, out)
			}
			if strings.Contains(out, "hunter2") {
				t.Errorf("shows the proxy's password:\n%s", out)
			}
			if n := passed.Load(); n != row.passed {
				t.Errorf("%d requests through the proxy, want %d", n, row.passed)
			}
		})
	}
}
