package courier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Embedded is a Redis in this process, for a run without a server.
type Embedded struct {
	server   *miniredis.Miniredis
	client   *redis.Client
	dialing  sync.Mutex // held for each new connection, and to close
	closed   bool
	listener net.Listener // nil until Listen
	serving  sync.WaitGroup
}

// StartEmbedded starts a Redis that nothing outside this process can reach.
func StartEmbedded() *Embedded {
	e := &Embedded{server: miniredis.NewMiniRedis()}
	e.server.ClockTTL(true)
	e.client = redis.NewClient(&redis.Options{
		// A literal address, so that go-redis resolves no name; the dialer ignores it.
		Addr:   "127.0.0.1:6379",
		Dialer: func(context.Context, string, string) (net.Conn, error) { return e.dial() },
		// What the in-process server need not be told or asked.
		DisableIdentity: true, Protocol: 2,
	})
	return e
}

// dial makes a connection to the server. One that go-redis still makes while its client is closed must not meet a server
// that is being closed, too.
func (e *Embedded) dial() (net.Conn, error) {
	e.dialing.Lock()
	defer e.dialing.Unlock()
	if e.closed {
		return nil, net.ErrClosed
	}
	return e.server.Dial()
}

// Client reaches the embedded Redis.
func (e *Embedded) Client() redis.UniversalClient { return e.client }

// Listen lets other processes of this user reach the server at a unix socket, which it makes for its owner alone; one that
// a killed process left there is replaced. Close removes it.
func (e *Embedded) Listen(ctx context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listen for status: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("close socket to others: %w", err), listener.Close())
	}
	e.listener = listener
	e.serving.Go(e.accept)
	return nil
}

// accept joins each connection to one of the server's, until the listener is closed.
func (e *Embedded) accept() {
	for {
		outside, err := e.listener.Accept()
		if err != nil {
			return
		}
		inside, err := e.dial()
		if err != nil {
			_ = outside.Close()
			return
		}
		e.serving.Go(func() { join(inside, outside) })
		e.serving.Go(func() { join(outside, inside) })
	}
}

// join copies one way, and ends both ways when it ends.
func join(to, from net.Conn) {
	_, _ = io.Copy(to, from) // whichever side ends, the connection is over
	_, _ = to.Close(), from.Close()
}

// Close ends the server and forgets what it held.
func (e *Embedded) Close() error {
	err := e.client.Close()
	if e.listener != nil {
		err = errors.Join(err, e.listener.Close())
	}
	e.dialing.Lock()
	e.closed = true
	e.dialing.Unlock()
	e.server.Close()
	e.serving.Wait()
	return err
}

// ConnectSocket reaches the embedded Redis of another process at its socket.
func ConnectSocket(path string) redis.UniversalClient {
	redis.SetLogger(redisLog{}) // that the process has ended is for the caller to say
	return redis.NewClient(&redis.Options{Network: "unix", Addr: path, DisableIdentity: true, Protocol: 2})
}
