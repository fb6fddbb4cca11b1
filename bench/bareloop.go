package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"
)

// bareLoop is the peer that a run is held against: the least that a careful person would write. It reads the file,
// sends the same bodies over as many kept connections and writes id and answer as they come. It has no order, no
// resume, no retry, no limits and no fsync.
func bareLoop(ctx context.Context, input, output, url string) (err error) {
	in, err := os.Open(input) //nolint:gosec // a path in the scratch folder
	if err != nil {
		return fmt.Errorf("open input: %w", err)
	}
	defer in.Close()              //nolint:errcheck // only read
	out, err := os.Create(output) //nolint:gosec // a path in the scratch folder
	if err != nil {
		return fmt.Errorf("create output: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	writer := answerWriter{w: bufio.NewWriterSize(out, 1<<20)}
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency, DisableCompression: true,
	}}

	work := make(chan []byte, concurrency)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(work)
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			select {
			case work <- bytes.Clone(lines.Bytes()):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return lines.Err()
	})
	for range concurrency {
		group.Go(func() error {
			for line := range work {
				if err := answerOne(ctx, client, url, line, &writer); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return writer.w.Flush()
}

func answerOne(ctx context.Context, client *http.Client, url string, line []byte, writer *answerWriter) error {
	var record struct {
		ID   string `json:"id"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(line, &record); err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	text, err := json.Marshal(record.Text)
	if err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	body := fmt.Appendf(nil, `{"model":"%s","max_tokens":%s,"messages":[{"role":"user","content":%s}]}`, model, maxTokens, text)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/messages", bytes.NewReader(body)) //nolint:gosec // the address is the caller's
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+credential)
	request.Header.Set("Anthropic-Version", "2023-06-01")
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request) //nolint:gosec // the address is the caller's
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	message, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	answer := gjson.GetBytes(message, "content.0.text")
	if response.StatusCode != http.StatusOK || !answer.Exists() {
		return fmt.Errorf("the simulator answered with status %d and no text", response.StatusCode)
	}
	return writer.write(record.ID, answer.Raw)
}

// answerWriter writes the lines of many goroutines.
type answerWriter struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (a *answerWriter) write(id, response string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := fmt.Fprintf(a.w, `{"id":"%s","response":%s}`+"\n", id, response); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}
