package courier

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

// Address says where Redis is and how it is reached.
type Address struct {
	// URL has one of the forms that AddressForms lists. What is special in a URL is percent-encoded in it.
	URL string
	// CAFile is a PEM file of the authorities that servers' certificates must come from. Default those of the system.
	CAFile string
	// CertFile and KeyFile are PEM files of the certificate that a client shows, and of its key. Default none.
	CertFile, KeyFile string
}

// poolSize bounds the connections to a server, which are opened as they are needed. A worker waits on one for each run
// that it serves, and makes short calls on the others.
const poolSize = 64

// Connect makes a client of a single server, of the master that Sentinels name, or of a cluster. It opens no connection
// yet: Check does. Its errors say what to write instead and hold nothing of the URL, so no password.
func Connect(a Address) (redis.UniversalClient, error) {
	to, err := parseURL(a.URL)
	if err != nil {
		return nil, err
	}
	security, err := a.tlsConfig(to.tls)
	if err != nil {
		return nil, err
	}
	redis.SetLogger(redisLog{})
	// RESP 2 is what the embedded Redis speaks as well: one kind of replies everywhere. Retries are go-redis' own: without
	// them a client that can't connect keeps a CPU busy.
	switch to.kind {
	case cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: to.hosts, Username: to.user, Password: to.password, TLSConfig: security,
			PoolSize: poolSize, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
		}), nil
	case sentinel:
		return redis.NewFailoverClient(&redis.FailoverOptions{
			SentinelAddrs: to.hosts, MasterName: to.master, SentinelUsername: to.sentinelUser, SentinelPassword: to.sentinelPassword,
			Username: to.user, Password: to.password, DB: to.db, TLSConfig: security,
			PoolSize: poolSize, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
		}), nil
	}
	return redis.NewClient(&redis.Options{
		Network: to.network, Addr: to.hosts[0], Username: to.user, Password: to.password, DB: to.db, TLSConfig: security,
		PoolSize: poolSize, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
	}), nil
}

const (
	// bulk is a size in bytes from which on a text may take long to cross a link.
	bulk = 256 << 10
	// bulkTimeout is how long it may take; other commands have go-redis' 5 s.
	bulkTimeout = 30 * time.Second
)

// patient is the client for a command that carries so many bytes. Clients of a cluster know one timeout only.
func patient(rdb redis.UniversalClient, bytes int) redis.UniversalClient {
	if client, single := rdb.(*redis.Client); single && bytes >= bulk {
		return client.WithTimeout(bulkTimeout)
	}
	return rdb
}

// tlsConfig is nil for an address without TLS. The name in a certificate must be the host's, which go-redis sees to.
func (a Address) tlsConfig(wanted bool) (*tls.Config, error) {
	if !wanted {
		if a.CAFile != "" || a.CertFile != "" || a.KeyFile != "" {
			return nil, errors.New("certificates for Redis need TLS: write rediss:// in its address for redis://")
		}
		return nil, nil //nolint:nilnil // what go-redis takes for no TLS
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		text, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificates of Redis' authority: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read certificates of Redis' authority: %s holds none in PEM form", a.CAFile)
		}
	}
	if a.CertFile == "" && a.KeyFile == "" {
		return config, nil
	}
	if a.CertFile == "" || a.KeyFile == "" {
		return nil, errors.New("a client certificate for Redis needs two files, of the certificate and of its key")
	}
	pair, err := tls.LoadX509KeyPair(a.CertFile, a.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read client certificate for Redis: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// redisLog takes what go-redis says of its connections, which would else go to stderr as it comes. Whoever makes a call
// reports that it was in vain, so that this is for the curious.
type redisLog struct{}

func (redisLog) Printf(ctx context.Context, format string, args ...any) {
	slog.DebugContext(ctx, "redis client", slog.String("detail", fmt.Sprintf(format, args...)))
}
