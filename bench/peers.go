package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	anthropic "github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"golang.org/x/sync/errgroup"
)

// sdkLoop is what most people write: goroutines that take a record each and call the official SDK, whose own two retries
// are all that it knows of limits. Its client is the SDK's default one but for connections that can be closed at the end. It returns
// how many records were answered, and how many an error was left of.
func sdkLoop(ctx context.Context, url string, records []record, goroutines int) (answered, lost int64, err error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	client := anthropic.NewClient(option.WithoutEnvironmentDefaults(), option.WithBaseURL(url), option.WithAuthToken(credential),
		option.WithHTTPClient(&http.Client{Transport: transport}))

	var answers, errs atomic.Int64
	work := make(chan record)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(work)
		for _, r := range records {
			select {
			case work <- r:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range goroutines {
		group.Go(func() error {
			for r := range work {
				if sdkCall(ctx, &client, r) {
					answers.Add(1)
				} else {
					errs.Add(1)
				}
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return answers.Load(), errs.Load(), fmt.Errorf("loop over the SDK: %w", err)
	}
	return answers.Load(), errs.Load(), nil
}

// sdkCall reports whether the record has an answer; a loop of this kind notes the error and goes on.
func sdkCall(ctx context.Context, client *anthropic.Client, r record) bool {
	message, err := client.Messages.New(ctx, anthropic.MessageNewParams{
		Model:     model,
		MaxTokens: r.MaxTokens,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(r.Text))},
	})
	return err == nil && len(message.Content) > 0
}
