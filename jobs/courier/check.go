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

// ErrUnfit says that Redis answers and can't be used: runs can't be trusted to it as it is set up, or the address is not
// right for it. The error that wraps it says what a person must change.
var ErrUnfit = errors.New("redis can't be used")

// UserRights are the rules of an ACL user that is enough for runs.
const UserRights = "~bw:* ~asynq:* &asynq:* &bw:* +@all -@admin -@dangerous +info"

// checkTimeout bounds a check, so that an address where nothing answers is reported in time.
const checkTimeout = 15 * time.Second

// Check asks Redis by INFO, each master of a cluster, whether it keeps what it is given, is recent enough and has the right
// time. It returns what a person should know; ErrUnfit when waiting will not help, any other error when there is no answer.
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

// explain adds to the error of a first call what a person may have to change, and makes it ErrUnfit where only that helps.
func explain(err error) error {
	var authority x509.UnknownAuthorityError
	text := err.Error()
	remedy := ""
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"):
		remedy = "it wants a password: redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST without a user"
	case strings.Contains(text, "WRONGPASS"):
		remedy = "user or password of its address are wrong; what is special in a URL must be percent-encoded in them"
	case strings.Contains(text, "NOPERM"):
		remedy = "give its user the rights " + UserRights
	case strings.Contains(text, "cluster support disabled"):
		remedy = "it is no cluster: write redis:// for redis+cluster://"
	case errors.As(err, &authority):
		remedy = "give the certificate of the authority that signed its own"
	case strings.Contains(text, "certificate required"):
		remedy = "give a certificate and key of this client, which it wants"
	case strings.Contains(text, "does not look like a TLS handshake"):
		remedy = "it speaks no TLS: write redis:// for rediss://"
	}
	if remedy != "" {
		return fmt.Errorf("%w: %w; %s", ErrUnfit, err, remedy)
	}
	switch {
	case errors.Is(err, io.EOF), strings.Contains(text, "connection reset"):
		remedy = "; it hung up: write rediss:// for redis:// if it speaks TLS, and give a certificate and key of this client if it wants one"
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "i/o timeout"):
		remedy = "; nothing answers: see whether host and port are right and open, and whether TLS (rediss://) is spoken there"
	}
	return fmt.Errorf("ask Redis for its state: %w%s", err, remedy)
}
