package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a server of the test's own. Its methods fail the test when they can't do what they say; they are for one
// goroutine at a time.
type Server struct {
	// Client reaches the server through its socket, and does so again after a Restart.
	Client *redis.Client
	// Addr is the TCP address, 127.0.0.1:PORT, the same after a Restart.
	Addr string
	// Socket is the path of the unix socket.
	Socket string
	// URL is the TCP address with user and password, as batchwright takes it.
	URL string
	// CAFile, CertFile and KeyFile are PEM files for a client of a server with TLS.
	CAFile, CertFile, KeyFile string

	tb        testing.TB
	dir       string // configuration, log and socket; what the server persists lies in data below it
	aof       bool
	process   *process
	snapshots int
}

// Snapshot is a copy of what a server had persisted.
type Snapshot struct{ dir string }

// StartServer runs a server and waits until it answers. The test is skipped as by Start.
func StartServer(tb testing.TB, o Options) *Server {
	tb.Helper()
	return startServer(tb, o, func() []string { return nil })
}

// startServer runs a server with more lines of configuration, which are asked for at each attempt to start it.
func startServer(tb testing.TB, o Options, more func() []string) *Server {
	tb.Helper()
	s := &Server{tb: tb, aof: o.AOF != "", dir: newDir(tb)}
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		tb.Fatal(err)
	}
	s.Socket = filepath.Join(s.dir, "s")
	if o.TLS {
		s.writeCertificates()
	}
	program := find(tb, o.Program)
	s.Client = redis.NewClient(&redis.Options{
		Network: "unix", Addr: s.Socket, Username: o.User, Password: o.Password, Protocol: 2, DisableIdentity: true,
	})
	tb.Cleanup(func() { _ = s.Client.Close() })
	// Between the choice of a port and its use another process may take it.
	for attempt := 1; ; attempt++ {
		port := freePort(tb)
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		config := filepath.Join(s.dir, "conf")
		text := s.config(o, port) + strings.Join(append(more(), ""), "\n")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		s.process = newProcess(tb, s.dir, program, config)
		err := s.begin()
		if err == nil {
			break
		}
		if attempt == 5 {
			tb.Fatalf("start %s: %v", program, err)
		}
	}
	s.URL = s.address(o)
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) address(o Options) string {
	u := url.URL{Scheme: "redis", Host: s.Addr}
	if o.TLS {
		u.Scheme = "rediss"
	}
	if o.Password != "" {
		u.User = url.UserPassword(o.User, o.Password)
	}
	return u.String()
}

// config is the server's configuration file.
func (s *Server) config(o Options, port string) string {
	var lines strings.Builder
	set := func(name string, value ...string) {
		lines.WriteString(name)
		for _, v := range value {
			lines.WriteString(" " + strconv.Quote(v))
		}
		lines.WriteByte('\n')
	}
	set("bind", "127.0.0.1")
	set("unixsocket", s.Socket)
	set("dir", s.data())
	set("save", "")
	set("appendonly", map[bool]string{false: "no", true: "yes"}[s.aof])
	if s.aof {
		set("appendfsync", o.AOF)
		set("auto-aof-rewrite-percentage", "0") // so that Snapshot copies files that only grow
	}
	if o.MaxMemory != "" {
		set("maxmemory", o.MaxMemory)
	}
	policy := o.Policy
	if policy == "" {
		policy = "noeviction"
	}
	set("maxmemory-policy", policy)
	switch {
	case o.User != "":
		set("user", "default", "off")
		set("user", o.User, "on", ">"+o.Password, "~*", "&*", "+@all")
	case o.Password != "":
		set("requirepass", o.Password)
	}
	if !o.TLS {
		set("port", port)
		return lines.String()
	}
	set("port", "0")
	set("tls-port", port)
	set("tls-ca-cert-file", s.CAFile)
	set("tls-cert-file", filepath.Join(s.dir, "server.crt"))
	set("tls-key-file", filepath.Join(s.dir, "server.key"))
	set("tls-auth-clients", map[bool]string{false: "optional", true: "yes"}[o.TLSClients])
	return lines.String()
}

// begin starts the process and waits until it answers.
func (s *Server) begin() error {
	s.process.start()
	return s.process.await(func(ctx context.Context) error { return s.Client.Ping(ctx).Err() })
}

// Kill ends the server by SIGKILL.
func (s *Server) Kill() {
	s.tb.Helper()
	s.process.kill()
}

// Restart starts the server, after a Kill of it when it runs, and waits until it answers. It then holds what its
// append-only file has, or without one what the last Save wrote.
func (s *Server) Restart() {
	s.tb.Helper()
	s.process.kill()
	if err := s.begin(); err != nil {
		s.tb.Fatalf("restart redis: %v", err)
	}
}

// Pause stops the server by SIGSTOP: connections stay open and nothing answers.
func (s *Server) Pause() {
	s.tb.Helper()
	s.process.signal(syscall.SIGSTOP)
}

// Continue lets a paused server go on.
func (s *Server) Continue() {
	s.tb.Helper()
	s.process.signal(syscall.SIGCONT)
}

// Save writes what the server holds to its RDB file, which a server without AOF reads at a Restart.
func (s *Server) Save() {
	s.tb.Helper()
	if err := s.Client.Save(s.tb.Context()).Err(); err != nil {
		s.tb.Fatalf("save: %v", err)
	}
}

// Wipe deletes what the server has persisted; for a server that was killed, which then restarts empty.
func (s *Server) Wipe() {
	s.tb.Helper()
	if err := errors.Join(os.RemoveAll(s.data()), os.Mkdir(s.data(), 0o700)); err != nil {
		s.tb.Fatal(err)
	}
}

// Snapshot copies what the server holds now, for a later Restore.
func (s *Server) Snapshot() Snapshot {
	s.tb.Helper()
	if !s.aof {
		s.Save()
	}
	s.snapshots++
	snapshot := Snapshot{filepath.Join(s.dir, fmt.Sprintf("snapshot%d", s.snapshots))}
	if err := os.CopyFS(snapshot.dir, os.DirFS(s.data())); err != nil {
		s.tb.Fatalf("take snapshot: %v", err)
	}
	return snapshot
}

// Restore kills the server and restarts it with what it held at the snapshot.
func (s *Server) Restore(snapshot Snapshot) {
	s.tb.Helper()
	s.Kill()
	if err := errors.Join(os.RemoveAll(s.data()), os.CopyFS(s.data(), os.DirFS(snapshot.dir))); err != nil {
		s.tb.Fatalf("restore snapshot: %v", err)
	}
	s.Restart()
}

// newDir is a folder for one server. Its path is short: a socket's may have 107 bytes.
func newDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "bwredis") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// freePort is a TCP port of 127.0.0.1 that nobody listens on. It lies below the ports that outgoing connections get,
// else a client that dials a killed server could be given the server's port for its own end and hold it.
func freePort(tb testing.TB) string {
	tb.Helper()
	var listen net.ListenConfig
	for {
		port := strconv.Itoa(12000 + rand.IntN(20000)) //nolint:gosec // any port will do
		listener, err := listen.Listen(tb.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
}

// readyWithin is how long a server may take to answer, on a machine that does much else.
const readyWithin = 30 * time.Second
