package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
)

// virtualRedis is a Redis in the process, for a bubble of testing/synctest. It can do what a real one may: forget, come
// back as it was, and be away.
type virtualRedis struct {
	server *miniredis.Miniredis
	links  []*virtualLink
	saved  int  // how many copies of all keys lie in the databases from 1 on
	gone   bool // unreachable

	mu    sync.Mutex
	lives int // each with a run_id of its own
}

func startVirtualRedis(t *testing.T) *virtualRedis {
	t.Helper()
	r := &virtualRedis{server: miniredis.NewMiniRedis()}
	r.server.ClockTTL(true)
	first, err := r.server.Dial()
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	// miniredis has no section "server" of INFO.
	r.server.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		if cmd != "INFO" || len(args) != 1 || args[0] != "server" {
			return false
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		c.WriteBulk(fmt.Sprintf("# Server\r\nrun_id:%040x\r\n", r.lives))
		return true
	})
	return r
}

// save keeps a copy of all that is there and returns its number.
func (r *virtualRedis) save() int {
	synctest.Wait() // nothing is written meanwhile
	r.saved++
	r.copy(0, r.saved)
	return r.saved
}

// restart begins another life with the copy of that number, with all that is there when it is 0, or with nothing when it
// is below. All connections end.
func (r *virtualRedis) restart(from int) {
	for _, link := range r.links {
		link.reset()
	}
	synctest.Wait()
	r.mu.Lock()
	r.lives++
	r.mu.Unlock()
	if from == 0 {
		return
	}
	r.flush()
	if from > 0 {
		r.copy(from, 0)
	}
}

// knowsRun reports whether Redis knows of a run.
func (r *virtualRedis) knowsRun() bool {
	return slices.ContainsFunc(r.server.DB(0).Keys(), func(key string) bool { return strings.HasSuffix(key, "}:terms") })
}

// flush forgets everything while all goes on.
func (r *virtualRedis) flush() { r.server.DB(0).FlushDB() }

// copy copies all keys of one database to another, by commands: the method of miniredis holds no lock.
func (r *virtualRedis) copy(from, to int) {
	client := (&virtualLink{redis: r}).client()
	defer client.Close()
	conn := client.Conn()
	defer conn.Close()
	ctx := context.Background()
	err := conn.Select(ctx, from).Err()
	for _, key := range r.server.DB(from).Keys() {
		err = errors.Join(err, conn.Do(ctx, "COPY", key, key, "DB", to).Err())
	}
	if err != nil {
		panic(err)
	}
}

// away makes Redis unreachable for all, or lets all reach it again.
func (r *virtualRedis) away(away bool) {
	r.gone = away
	for _, link := range r.links {
		link.mu.Lock()
		link.away = away
		link.mu.Unlock()
		if away {
			link.reset()
		}
	}
}

// virtualLink is one party's way to Redis.
type virtualLink struct {
	redis *virtualRedis

	mu     sync.Mutex
	mode   cut
	dead   bool // for ever
	away   bool // the other end is
	conns  []*virtualConn
	losing func(command []byte) bool // picks commands whose replies are lost
	left   int                       // so many more
	losses int                       // replies that were
}

func (r *virtualRedis) link() *virtualLink {
	l := &virtualLink{redis: r, away: r.gone}
	r.links = append(r.links, l)
	return l
}

// client reaches Redis over the link.
func (l *virtualLink) client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:6379", Dialer: l.dial, DisableIdentity: true, Protocol: 2,
		// go-redis would sleep between dials with a lock held that others want: the bubble's time would stand still. For
		// the same reason no new connection is made over a link that is cut in whatever way.
		DialerRetries: 1,
	})
}

// errCut is what a dial to where nobody listens returns; go-redis waits before it tries that again.
var errCut = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func (l *virtualLink) dial(context.Context, string, string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.away || l.mode != linkUp && l.mode != linkFlicker {
		return nil, errCut
	}
	inside, err := l.redis.server.Dial()
	if err != nil {
		return nil, err
	}
	c := &virtualConn{Conn: inside, link: l}
	l.conns = append(l.conns, c)
	return c, nil
}

// set cuts the link in one way or another; connections do not outlive the cut.
func (l *virtualLink) set(mode cut) {
	l.mu.Lock()
	before := l.mode
	l.mode = mode
	l.mu.Unlock()
	if mode == linkReset || mode == linkUp && before != linkUp {
		l.reset()
	}
}

// die cuts the link for ever.
func (l *virtualLink) die() {
	l.mu.Lock()
	l.dead = true
	l.mu.Unlock()
	l.reset()
}

func (l *virtualLink) reset() {
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

func (l *virtualLink) is(modes ...cut) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(modes, l.mode)
}

// lose makes the next commands that match be carried out and their replies be lost, with the connection: so many, for the
// client sends a command three times again.
func (l *virtualLink) lose(matches func([]byte) bool, times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losing, l.left = matches, times
}

// lost reports whether the reply to a command is to be lost.
func (l *virtualLink) lost(command []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 || !l.losing(command) {
		return false
	}
	l.left--
	l.losses++
	return true
}

// lostSome reports whether a reply was lost.
func (l *virtualLink) lostSome() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses > 0
}

// virtualConn loses commands or replies while its link does.
type virtualConn struct {
	net.Conn
	link *virtualLink
	lost atomic.Bool // the next reply is, and the connection with it
}

func (c *virtualConn) Write(p []byte) (int, error) {
	if c.link.is(linkDeaf, linkHang) {
		return len(p), nil
	}
	if c.link.lost(p) {
		c.lost.Store(true)
	}
	n, err := c.Conn.Write(p)
	return n, ended(err)
}

func (c *virtualConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if c.lost.Load() {
			c.Close()
			return 0, io.EOF
		}
		if err != nil || !c.link.is(linkMute, linkHang) {
			return n, ended(err)
		}
	}
}

func (c *virtualConn) SetDeadline(t time.Time) error     { return ended(c.Conn.SetDeadline(t)) }
func (c *virtualConn) SetReadDeadline(t time.Time) error { return ended(c.Conn.SetReadDeadline(t)) }

func (c *virtualConn) SetWriteDeadline(t time.Time) error { return ended(c.Conn.SetWriteDeadline(t)) }

// ended makes the error of a pipe that of a connection that the other end has closed.
func ended(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return io.EOF
	}
	return err
}

// touching matches commands that name all of these keys of a run, by the ends of their names.
func touching(names ...string) func([]byte) bool {
	return func(command []byte) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !bytes.Contains(command, []byte("}:"+name+"\r\n")) })
	}
}

// The restored copy is what was saved, whatever came after it, and in another life.
func TestVirtualRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startVirtualRedis(t)
		l := r.link()
		defer r.server.Close()
		defer l.die()
		c := l.client()
		defer c.Close()
		ctx := t.Context()
		life := func() string {
			t.Helper()
			text, err := c.Eval(ctx, "return redis.call('INFO', 'server')", nil).Text()
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		first := life()
		if err := c.Set(ctx, "a", "1", 10*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
		n := r.save()
		c.Set(ctx, "a", "2", 0)
		c.Set(ctx, "b", "2", 0)
		r.restart(n)
		if got := c.Get(ctx, "a").Val(); got != "1" || c.Exists(ctx, "b").Val() != 0 {
			t.Errorf("after the restart a is %q, %d b", got, c.Exists(ctx, "b").Val())
		}
		if life() == first {
			t.Error("the restart is not another life")
		}
		time.Sleep(11 * time.Second)
		if c.Exists(ctx, "a").Val() != 0 {
			t.Error("the copy does not expire")
		}
		l.lose(func(command []byte) bool { return bytes.Contains(command, []byte("incr")) }, 4)
		if err := c.Incr(ctx, "n").Err(); err == nil {
			t.Error("the reply was not lost")
		}
		if got := c.Get(ctx, "n").Val(); got != "4" {
			t.Errorf("the command whose reply was lost was carried out %s times", got)
		}
		for _, mode := range []cut{linkReset, linkDeaf, linkMute, linkHang} {
			l.set(mode)
			if err := c.Incr(ctx, "m").Err(); err == nil {
				t.Errorf("%s: the link is not cut", cutNames[mode])
			}
			l.set(linkUp)
			if err := c.Ping(ctx).Err(); err != nil {
				t.Errorf("%s: after its end: %v", cutNames[mode], err)
			}
		}
		r.away(true)
		if err := c.Ping(ctx).Err(); err == nil {
			t.Error("it is not away")
		}
		r.away(false)
		if err := c.Ping(ctx).Err(); err != nil {
			t.Error(err)
		}
	})
}
