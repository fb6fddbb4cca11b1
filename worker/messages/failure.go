package messages

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
)

var (
	// errTooLong says that an answer is over maxBodyBytes.
	errTooLong = errors.New("answer over 64 MiB")
	// errStream is wrapped by whatever is wrong with a stream that arrived.
	errStream = errors.New("broken stream")
)

// classifyFailure judges a call that got no whole answer.
func classifyFailure(a Answer) Verdict {
	v := Verdict{
		Kind:      Retry,
		Status:    a.Status,
		Message:   sanitise(a.Err.Error(), a.Secret),
		RequestID: sanitiseWord(requestID(a.Header, apiError{}), a.Secret),
	}
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		lookup      *net.DNSError
		network     net.Error
	)
	switch {
	case errors.Is(a.Err, context.Canceled):
		v.Kind, v.Type = Cancelled, "cancelled"
	case errors.As(a.Err, &certificate):
		v.Kind, v.Type, v.Remedy = Blocked, "tls", remedyCertificate
	case errors.Is(a.Err, http.ErrSchemeMismatch),
		// What net/http makes of it when the connection goes through a proxy.
		errors.As(a.Err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		v.Kind, v.Type, v.Remedy = Blocked, "tls", remedyPlainHTTP
	case strings.Contains(a.Err.Error(), "Proxy Authentication Required"):
		// net/http reports a refused CONNECT by the status line's text alone.
		v.Kind, v.Type, v.Remedy = Blocked, "proxy", remedyProxy
	case errors.Is(a.Err, context.DeadlineExceeded),
		errors.As(a.Err, &network) && network.Timeout() && !errors.As(a.Err, &lookup):
		v.Type = "timeout"
	case errors.As(a.Err, &lookup):
		v.Type = "dns"
	case errors.Is(a.Err, syscall.ECONNREFUSED):
		v.Type = "refused"
	case a.Status != 0, errors.Is(a.Err, errStream):
		v.Type = "incomplete"
	case errors.Is(a.Err, syscall.ECONNRESET), errors.Is(a.Err, syscall.EPIPE):
		v.Type = "reset"
	case strings.HasPrefix(a.Err.Error(), "tls: "), strings.HasPrefix(a.Err.Error(), "remote error: tls: "):
		v.Type = "tls"
	default:
		v.Type = "network"
	}
	return v
}
