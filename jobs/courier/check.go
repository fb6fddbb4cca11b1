package courier

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnfit says that Redis can be reached, and runs can't be trusted to it as it is set up. The error that wraps it says
// what a person must change.
var ErrUnfit = errors.New("redis is not set up for runs")

// checkTimeout bounds a check, so that an address where nothing answers is reported in time.
const checkTimeout = 15 * time.Second

// Check asks Redis by INFO, each master of a cluster, whether it keeps what it is given, is recent enough and has the right
// time. It returns what a person should know; ErrUnfit when runs can't work, any other error when there is no answer.
// CONFIG is not used: managed Redis refuses it.
func Check(ctx context.Context, rdb redis.UniversalClient) (warnings []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	masters, clustered := rdb.(*redis.ClusterClient)
	if !clustered {
		found, err := examine(ctx, rdb, false)
		if err != nil {
			return nil, err
		}
		return found.warnings, found.error()
	}
	var mu sync.Mutex
	nodes := make(map[string]findings)
	err = masters.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		found, err := examine(ctx, node, true)
		if err != nil {
			return fmt.Errorf("node %s: %w", node.Options().Addr, err)
		}
		mu.Lock()
		defer mu.Unlock()
		nodes[node.Options().Addr] = found
		return nil
	})
	if err != nil {
		return nil, explain(err)
	}
	all := merge(nodes)
	return all.warnings, all.error()
}

// examine asks one server.
func examine(ctx context.Context, server redis.Cmdable, clustered bool) (findings, error) {
	before := time.Now()
	text, err := server.Info(ctx).Result()
	after := time.Now()
	if err != nil {
		return findings{}, explain(err)
	}
	told := parseInfo(text)
	clock, ok := told.clock()
	if !ok {
		before = time.Now()
		clock, err = server.Time(ctx).Result()
		after = time.Now()
		if err != nil {
			return findings{}, explain(err)
		}
	}
	return judge(told, skew(before, clock, after), clustered), nil
}

// merge names with each finding the nodes that it holds for.
func merge(nodes map[string]findings) findings {
	var all findings
	for _, list := range []struct {
		into *[]string
		of   func(findings) []string
	}{
		{&all.warnings, func(f findings) []string { return f.warnings }},
		{&all.problems, func(f findings) []string { return f.problems }},
	} {
		where := make(map[string][]string)
		for _, node := range slices.Sorted(maps.Keys(nodes)) {
			for _, text := range list.of(nodes[node]) {
				where[text] = append(where[text], node)
			}
		}
		for _, text := range slices.Sorted(maps.Keys(where)) {
			*list.into = append(*list.into, strings.Join(where[text], ", ")+": "+text)
		}
	}
	return all
}

// explain adds to the error of a first call what a person may have to change.
func explain(err error) error {
	var authority x509.UnknownAuthorityError
	hint := ""
	switch text := err.Error(); {
	case redis.HasErrorPrefix(err, "NOAUTH"):
		hint = "it wants a password: redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST without a user"
	case strings.Contains(text, "WRONGPASS"):
		hint = "user or password of its address are wrong; what is special in a URL must be percent-encoded in them"
	case redis.HasErrorPrefix(err, "NOPERM"):
		hint = "a run's user needs all keys and channels that begin with bw: or asynq:, and the commands +@all -@admin -@dangerous +info +keys"
	case strings.Contains(text, "cluster support disabled"):
		hint = "it is no cluster: write redis:// for redis+cluster://"
	case errors.As(err, &authority):
		hint = "give the certificate of the authority that signed its own"
	case strings.Contains(text, "certificate required"):
		hint = "it wants a certificate and key of this client"
	case strings.Contains(text, "does not look like a TLS handshake"):
		hint = "it speaks no TLS: write redis:// for rediss://"
	case errors.Is(err, io.EOF), strings.Contains(text, "connection reset"):
		hint = "it hung up: where it speaks TLS, write rediss:// for redis://"
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "i/o timeout"):
		hint = "nothing answers: see whether host and port are right and open, and whether TLS (rediss://) is spoken there"
	}
	if hint == "" {
		return fmt.Errorf("ask Redis for its state: %w", err)
	}
	return fmt.Errorf("ask Redis for its state: %w; %s", err, hint)
}
