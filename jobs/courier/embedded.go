package courier

import (
	"context"
	"net"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Embedded is a Redis in this process, for a run without a server.
type Embedded struct {
	server *miniredis.Miniredis
	client *redis.Client
}

// StartEmbedded starts a Redis that nothing outside this process can reach.
func StartEmbedded() *Embedded {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	client := redis.NewClient(&redis.Options{
		// A literal address, so that go-redis resolves no name; the dialer ignores it.
		Addr:   "127.0.0.1:6379",
		Dialer: func(context.Context, string, string) (net.Conn, error) { return server.Dial() },
		// What the in-process server need not be told or asked.
		DisableIdentity: true, Protocol: 2,
	})
	return &Embedded{server, client}
}

// Client reaches the embedded Redis.
func (e *Embedded) Client() redis.UniversalClient { return e.client }

// Close ends the server and forgets what it held.
func (e *Embedded) Close() error {
	err := e.client.Close()
	e.server.Close()
	return err
}
