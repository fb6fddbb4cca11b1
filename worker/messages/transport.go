package messages

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// maxBodyBytes bounds an answer: the longest (128,000 tokens of output, streamed one token an event) is about 20 MB.
const maxBodyBytes = 64 << 20

// newTransport returns a transport for many parallel calls to one host. Proxies (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)
// and CAs (SSL_CERT_FILE, SSL_CERT_DIR) are those of the environment, by Go's own rules.
func newTransport(conns int) (*http.Transport, error) {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport was replaced by another type")
	}
	t := standard.Clone()
	// Go keeps 2 idle connections a host by default: 10,000 calls then opened 7,891 connections.
	t.MaxIdleConnsPerHost = conns
	t.MaxIdleConns = conns
	// With gzip the transport drops Content-Length, by which a cut answer is known; it also costs CPU for each.
	t.DisableCompression = true
	// A dead HTTP/2 connection carries all calls: pings find it long before the calls time out.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second}
	return t, nil
}

// doer sends requests for the SDK. It asks the transport itself and not an http.Client, so that there is nothing
// that follows redirects (which would carry prompts to another host), and no URL in the text of an error.
type doer struct{ transport *http.Transport }

// Do sends one request; the body of the response ends with errTooLong beyond maxBodyBytes.
func (d doer) Do(req *http.Request) (*http.Response, error) {
	res, err := d.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Body = &bounded{res.Body, maxBodyBytes}
	return res, nil
}

// bounded is a body that fails when more than left bytes come.
type bounded struct {
	io.ReadCloser
	left int64
}

// Read reads at most what is left.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errTooLong
	}
	return n, err
}
