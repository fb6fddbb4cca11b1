package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cut is how a link between two machines can be broken.
type cut int32

const (
	linkUp      cut = iota
	linkReset       // connections are reset, and new ones as well
	linkHang        // connections are accepted, and nothing passes either way
	linkMute        // what the client sends arrives, and no reply comes back
	linkDeaf        // what the client sends is lost, replies to what came before still come
	linkFlicker     // connections are reset once; new ones pass
)

var cutNames = map[cut]string{
	linkReset: "reset", linkHang: "hang", linkMute: "replies lost", linkDeaf: "commands lost", linkFlicker: "reset once",
}

// proxy is a link that can be cut.
type proxy struct {
	addr     string
	target   string
	listener net.Listener
	mode     atomic.Int32
	wait     sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool
	ended bool
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: listener.Addr().String(), target: target, listener: listener, open: map[net.Conn]bool{}}
	p.wait.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.resetAll()
		p.wait.Wait()
	})
	return p
}

// set cuts the link in a way, or heals it. Connections that a cut has harmed do not outlive it, as a firewall that
// forgot them would have it.
func (p *proxy) set(mode cut) {
	before := cut(p.mode.Swap(int32(mode)))
	if mode == linkReset || mode == linkFlicker || before != linkUp {
		p.resetAll()
	}
}

func (p *proxy) cut() cut { return cut(p.mode.Load()) }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if p.cut() == linkReset || !p.keep(client) {
			reset(client)
			continue
		}
		p.wait.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.drop(client)
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil || !p.keep(server) {
		reset(client)
		return
	}
	defer p.drop(server)
	var both sync.WaitGroup
	both.Go(func() { p.pipe(server, client, linkDeaf) })
	both.Go(func() { p.pipe(client, server, linkMute) })
	both.Wait()
}

// pipe passes bytes on. What comes while the link hangs, or is cut in this direction, is lost.
func (p *proxy) pipe(to, from net.Conn, direction cut) {
	defer reset(to)
	defer reset(from)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if mode := p.cut(); n > 0 && mode != linkHang && mode != direction {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.open[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
	_ = c.Close()
}

func (p *proxy) resetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		reset(c)
	}
}

// reset closes a connection so that the other end is told of an error, not of an end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// The proof is worth what the cuts are: each does to a connection what its name says.
func TestProxy(t *testing.T) {
	t.Parallel()
	const patience = 200 * time.Millisecond
	cases := []struct {
		name             string
		mode             cut
		arrives, answers bool
		dials            bool
	}{
		{"up", linkUp, true, true, true},
		{"reset", linkReset, false, false, false},
		{"hang", linkHang, false, false, true},
		{"mute", linkMute, true, false, true},
		{"deaf", linkDeaf, false, false, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 8)
			p := startProxy(t, echo(t, got))
			p.set(c.mode)
			client, err := net.Dial("tcp", p.addr)
			if err != nil {
				if c.dials {
					t.Fatal(err)
				}
				return // reset before the dial was over
			}
			defer client.Close()
			_, _ = io.WriteString(client, "ping")
			arrived := false
			select {
			case <-got:
				arrived = true
			case <-time.After(patience):
			}
			if arrived != c.arrives {
				t.Errorf("what was sent arrived: %v", arrived)
			}
			_ = client.SetReadDeadline(time.Now().Add(patience))
			buffer := make([]byte, 8)
			n, err := client.Read(buffer)
			if answered := n > 0; answered != c.answers {
				t.Errorf("an answer came: %v", answered)
			}
			var timeout net.Error
			if open := err == nil || errors.As(err, &timeout) && timeout.Timeout(); open != c.dials {
				t.Errorf("the connection stayed open: %v (%v)", open, err)
			}
			p.set(linkUp)
			after, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer after.Close()
			_, _ = io.WriteString(after, "pong")
			if _, err := io.ReadFull(after, buffer[:4]); err != nil || string(buffer[:4]) != "pong" {
				t.Errorf("after the cut: %q, %v", buffer[:4], err)
			}
		})
	}
}

// echo serves connections that send back what they are sent, and tells of it.
func echo(t *testing.T, got chan<- string) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.WithoutCancel(t.Context()), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer c.Close()
				buffer := make([]byte, 64)
				for {
					n, err := c.Read(buffer)
					if err != nil {
						return
					}
					got <- string(buffer[:n])
					_, _ = c.Write(buffer[:n])
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wait.Wait()
	})
	return listener.Addr().String()
}
