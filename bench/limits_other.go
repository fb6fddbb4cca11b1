package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// otherUser is somebody else on the same account: with a key of its own, at a steady rate whatever is answered, and
// without a retry. It counts what it did, so that the fleet's part can be told apart.
type otherUser struct {
	calls, refused atomic.Int64
	client         *http.Client
	url            string
}

func newOtherUser(url string) *otherUser {
	return &otherUser{url: url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: concurrency}}}
}

// run makes so many calls a second until the context ends, and waits for those that are open.
func (o *otherUser) run(ctx context.Context, perSecond float64) {
	var open sync.WaitGroup
	defer o.client.CloseIdleConnections()
	defer open.Wait()
	for n := 0; ; n++ {
		// Calls of independent people come at random: the pauses between them are exponential.
		wait := time.NewTimer(time.Duration(rand.ExpFloat64() / perSecond * float64(time.Second))) //nolint:gosec // no secret
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		open.Go(func() { o.call(context.WithoutCancel(ctx), n) })
	}
}

// call makes one call; one that breaks counts as neither answered nor refused.
func (o *otherUser) call(ctx context.Context, n int) {
	o.calls.Add(1)
	body := fmt.Sprintf(`{"model":"%s","max_tokens":100,"messages":[{"role":"user","content":"other %d"}]}`, model, n)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+"/v1/messages", strings.NewReader(body))
	if err != nil {
		return
	}
	request.Header.Set("Authorization", "Bearer other")
	request.Header.Set("Anthropic-Version", "2023-06-01")
	response, err := o.client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()               //nolint:errcheck // only read
	_, _ = io.Copy(io.Discard, response.Body) // so that the connection is used again
	if response.StatusCode == http.StatusTooManyRequests {
		o.refused.Add(1)
	}
}
