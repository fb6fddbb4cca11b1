package simulator

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/tidwall/gjson"
)

// problem is an error answer in the service's shape.
type problem struct {
	status  int
	message string
	// code is error.details.error_code; empty leaves details out.
	code string
	// retryAfter is in seconds; 0 sends no header.
	retryAfter int64
}

// invalid is an invalid_request_error.
func invalid(format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

// problemOf is how the service words an error status that nothing in the request caused.
func problemOf(status int) *problem {
	p := &problem{status: status, message: "Simulated fault: status " + strconv.Itoa(status)}
	switch status {
	case http.StatusTooManyRequests:
		p.message, p.retryAfter = "Simulated fault: this request would exceed your rate limit", 1
	case http.StatusInternalServerError:
		p.message = "Simulated fault: internal server error"
	case statusOverloaded:
		p.message = "Simulated fault: overloaded"
	}
	return p
}

// statusOverloaded is the service's own status for an overload.
const statusOverloaded = 529

// errorType is error.type of a status (messages API, section Errors).
func errorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusConflict:
		return "conflict_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case statusOverloaded:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// appendError writes the error's JSON body.
func (p *problem) appendError(dst []byte, requestID string) []byte {
	dst = append(dst, `{"type":"error","error":{"type":"`...)
	dst = append(dst, errorType(p.status)...)
	dst = append(dst, `","message":`...)
	dst = gjson.AppendJSONString(dst, p.message)
	if p.code != "" {
		dst = append(dst, `,"details":{"error_code":"`...)
		dst = append(dst, p.code...)
		dst = append(dst, `"}`...)
	}
	dst = append(dst, `},"request_id":"`...)
	dst = append(dst, requestID...)
	return append(dst, `"}`...)
}
