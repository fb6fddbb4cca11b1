package messages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	anthropic "github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/tidwall/sjson"
)

// Defaults of Options.
const (
	DefaultBaseURL   = "https://api.anthropic.com"
	DefaultVersion   = "2023-06-01"
	DefaultTimeout   = 10 * time.Minute
	DefaultUserAgent = "batchwright"
	DefaultMaxConns  = 256
)

// Options say where calls go and how. Nothing else does: of the environment only proxies and CAs are read.
type Options struct {
	// BaseURL is the address of the API without /v1/messages; it may have a path. Default DefaultBaseURL.
	BaseURL string
	// Version is sent as anthropic-version. Default DefaultVersion, not the SDK's own, which refuses temperature.
	Version string
	// Beta is sent as anthropic-beta, joined by commas. Default none.
	Beta []string
	// Stream asks for the answer as a stream, which keeps the connection busy while a long answer is made; the
	// Message is the same. Default false.
	Stream bool
	// Timeout bounds one call, from its start to the last byte of the answer. Default DefaultTimeout.
	Timeout time.Duration
	// Secret is sent as Authorization: Bearer. Required.
	Secret Secret
	// MaxConns is the number of connections kept open between calls: the number of calls made at once. Default
	// DefaultMaxConns.
	MaxConns int
	// UserAgent names the program to the server. Default DefaultUserAgent.
	UserAgent string
}

// Client makes calls; any number of goroutines may use it.
type Client struct {
	sdk       anthropic.Client
	transport *http.Transport
	timeout   time.Duration
	stream    bool
	secret    Secret
	account   string
}

// New checks the options and returns a client. It opens no connection.
func New(o Options) (*Client, error) {
	o = withDefaults(o)
	if err := check(o); err != nil {
		return nil, err
	}
	transport, err := newTransport(o.MaxConns)
	if err != nil {
		return nil, err
	}
	options := []option.RequestOption{
		// Without this the SDK takes credentials, base URL and headers from the environment and from profiles.
		option.WithoutEnvironmentDefaults(),
		option.WithHTTPClient(doer{transport}),
		option.WithMaxRetries(0),
		option.WithRequestTimeout(o.Timeout),
		option.WithBaseURL(o.BaseURL),
		option.WithAuthToken(o.Secret.Reveal()),
		option.WithHeader("Anthropic-Version", o.Version),
		option.WithHeader("User-Agent", o.UserAgent),
	}
	if len(o.Beta) > 0 {
		options = append(options, option.WithHeader("Anthropic-Beta", strings.Join(o.Beta, ",")))
	}
	return &Client{anthropic.NewClient(options...), transport, o.Timeout, o.Stream, o.Secret, accountOf(o.BaseURL, o.Secret)}, nil
}

func withDefaults(o Options) Options {
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	if o.Version == "" {
		o.Version = DefaultVersion
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	return o
}

// check refuses options that would fail each call.
func check(o Options) error {
	if o.Secret.Empty() {
		return ErrNoSecret
	}
	if o.Timeout < 0 || o.MaxConns < 0 {
		return errors.New("timeout and number of connections must be above 0")
	}
	for _, value := range append([]string{o.Version, o.UserAgent}, o.Beta...) {
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("header value %q: only printable ASCII can be sent", value)
		}
	}
	return CheckBaseURL(o.BaseURL)
}

// CheckBaseURL says what is wrong with the address of an API. Its errors hold no credential that the address has.
func CheckBaseURL(address string) error {
	base, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("base URL is not a URL: write it as https://host") // the error would repeat its text
	case base.Scheme != "https" && base.Scheme != "http", base.Host == "":
		return fmt.Errorf("base URL %q: write it as https://host", base.Redacted())
	case base.User != nil:
		return errors.New("base URL holds a credential: put it into the variable that api.key_env names")
	case base.RawQuery != "" || base.Fragment != "":
		return fmt.Errorf("base URL %q: leave out what follows ? or #", base.Scheme+"://"+base.Host+base.Path)
	case strings.HasSuffix(strings.TrimRight(base.Path, "/"), "/v1"), strings.HasSuffix(base.Path, "/messages"):
		return fmt.Errorf("base URL %q: leave out /v1 and /messages, which are added", address)
	}
	return nil
}

// Close drops the connections that no call is using.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Reply is what came of one call.
type Reply struct {
	Verdict
	// Message is the complete Message as the server sent it, unknown fields included; for a stream, the same put
	// together. Only the credential, should a server repeat it there, is hidden. Nil unless Answered.
	Message json.RawMessage
	// Header is the answer's; nil when no answer began. ParseRateLimits reads the limits in it.
	Header http.Header
	// Latency is the time from the start of the call to the last byte of the answer.
	Latency time.Duration
}

// Call sends body, a JSON object, as one POST /v1/messages and judges the answer. It returns when the answer is
// whole, the timeout is over or ctx is done.
func (c *Client) Call(ctx context.Context, body []byte) Reply {
	start := time.Now()
	answer := c.exchange(ctx, body)
	reply := Reply{Header: answer.Header, Latency: time.Since(start)}
	answer.Now, answer.Secret = time.Now(), c.secret
	reply.Verdict = Classify(answer)
	if reply.Kind == Answered {
		reply.Message = hide(bytes.TrimSpace(answer.Body), c.secret)
	}
	return reply
}

// exchange sends the request and reads the whole answer.
func (c *Client) exchange(ctx context.Context, body []byte) Answer {
	if c.stream {
		var err error
		if body, err = sjson.SetRawBytes(body, "stream", []byte("true")); err != nil {
			return Answer{Err: fmt.Errorf("set stream in request: %w", err)}
		}
	}
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var res *http.Response
	err := c.sdk.Post(callCtx, "v1/messages", body, &res)
	if res == nil {
		return Answer{Err: c.explain(ctx, err)}
	}
	defer func() { _ = res.Body.Close() }()
	answer := Answer{Status: res.StatusCode, Header: res.Header}
	// After an error status the SDK has read the body already, and puts it back unless it broke off.
	if isStream(res) {
		answer.Body, err = collect(res.Body)
		finish(res.Body, cancel)
	} else {
		answer.Body, err = readWhole(res)
	}
	if err != nil {
		answer.Err = c.explain(ctx, fmt.Errorf("read answer: %w", err))
	}
	return answer
}

// explain makes an error say whether it was the caller who ended the call, or the timeout.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("call ended by its caller: %w", context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no whole answer within %s: %w", c.timeout, context.DeadlineExceeded)
	}
	return err
}

// isStream reports whether a good answer comes as server-sent events, asked for or not.
func isStream(res *http.Response) bool {
	if res.StatusCode != http.StatusOK {
		return false
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return media == "text/event-stream"
}

// maxPresize bounds the memory that a Content-Length alone can claim.
const maxPresize = 1 << 20

func readWhole(res *http.Response) ([]byte, error) {
	var buf bytes.Buffer
	if res.ContentLength > 0 {
		buf.Grow(int(min(res.ContentLength, maxPresize)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(res.Body)
	return buf.Bytes(), err
}
