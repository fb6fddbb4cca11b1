package messages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/batchwright/batchwright/jobs"
)

// Classify decides what an answer means. It is the only place that does, and pure: the same answer gets the same
// verdict. In this order:
//
//  1. A call without a whole answer: Cancelled, Blocked for certificates and proxies that a person must mend,
//     else Retry. When an error status came before the body broke, the status decides.
//  2. HTTP 200 with a complete Message: Answered. 200 with an error in it means what that error means by its type,
//     else by its numeric code; 200 with anything else is a Retry.
//  3. Whatever no call gets past (credential, billing, spend cap, unknown model, wrong address): Blocked.
//  4. 429 and 529, and 5xx that names their error types: RetryAfter, whatever x-should-retry says: a limit is
//     never a record's fault.
//  5. 408, 409, 425 and 5xx: Retry; any other 4xx: Rejected. x-should-retry swaps these two.
func Classify(a Answer) Verdict {
	if a.Err != nil && (a.Status < 300 || errors.Is(a.Err, context.Canceled)) {
		return classifyFailure(a)
	}
	v := Verdict{Status: a.Status}
	problem := ""
	if a.Status == http.StatusOK {
		if problem = messageProblem(a.Body); problem == "" {
			v.Kind = Answered
			v.RequestID = sanitiseWord(requestID(a.Header, apiError{}), a.Secret)
			return v
		}
	}
	e := readError(a.Body)
	status := meaning(a.Status, e)
	decide(&v, status, e, a.Header)
	switch {
	case status/100 == 3:
		e.message = "redirect to " + destination(a.Header)
	case problem != "" && !e.api:
		e.kind, e.message = "incomplete", "HTTP 200 with "+problem
	}
	v.Type = sanitiseWord(e.kind, a.Secret)
	v.Code = sanitiseWord(e.code, a.Secret)
	v.Message = sanitise(e.message, a.Secret)
	v.RequestID = sanitiseWord(requestID(a.Header, e), a.Secret)
	if v.Kind == Retry || v.Kind == RetryAfter {
		v.Wait = retryAfter(a.Header, a.Now)
	}
	return v
}

// statusOf gives the status that the service sends with each of its error types (API documentation, "Errors").
var statusOf = map[string]int{
	"invalid_request_error": http.StatusBadRequest,
	"authentication_error":  http.StatusUnauthorized,
	"billing_error":         http.StatusPaymentRequired,
	"permission_error":      http.StatusForbidden,
	"not_found_error":       http.StatusNotFound,
	"conflict_error":        http.StatusConflict,
	"request_too_large":     http.StatusRequestEntityTooLarge,
	"rate_limit_error":      http.StatusTooManyRequests,
	"api_error":             http.StatusInternalServerError,
	"timeout_error":         http.StatusGatewayTimeout,
	"overloaded_error":      statusOverloaded,
}

const statusOverloaded = 529

// meaning returns the status to judge an answer by. The HTTP status comes first; an error inside a 200, or after a
// stream began, has none of its own, and gateways send a limit of the service behind them as a 5xx.
func meaning(status int, e apiError) int {
	named := statusOf[e.kind]
	switch {
	case status >= 500 && (named == http.StatusTooManyRequests || named == statusOverloaded):
		return named
	case status/100 != 2 || !e.api:
		return status
	case named != 0:
		return named
	case e.number >= 400 && e.number < 600:
		return e.number
	}
	return status
}

// decide fills in what to do about an error that means the given status.
func decide(v *Verdict, status int, e apiError, h http.Header) {
	if v.Remedy = remedyFor(status, e); v.Remedy != "" {
		v.Kind = Blocked
		return
	}
	switch {
	case status == http.StatusTooManyRequests:
		v.Kind, v.Pressure = RetryAfter, Limited
		v.Limit = limitNamed(e.message)
		if e.code == "ramp_limit_exceeded" {
			v.Pressure, v.Limit = Ramping, LimitUnknown
		}
		return
	case status == statusOverloaded:
		v.Kind, v.Pressure = RetryAfter, Overloaded
		return
	case e.code == "cmek_context_unavailable", status == http.StatusRequestTimeout,
		status == http.StatusConflict, status == http.StatusTooEarly, status < 400, status >= 500:
		v.Kind = Retry
	default:
		v.Kind = Rejected
	}
	switch h.Get("X-Should-Retry") {
	case "true":
		v.Kind = Retry
	case "false":
		// A 200 that is broken says nothing of the request, so there the header cannot fail a record.
		if status >= 400 {
			v.Kind = Rejected
		}
	}
	if v.Kind == Rejected {
		v.Reason = jobs.ReasonRejected
		if status == http.StatusRequestEntityTooLarge || e.kind == "request_too_large" {
			v.Reason = jobs.ReasonTooLarge
		}
	}
}

// The remedies. Each is one sentence, and after it the same command goes on.
const (
	remedyCredential = "the API refuses the credential: set a valid one in the variable that api.key_env names " +
		"(ANTHROPIC_API_KEY by default), then run the same command again"
	remedyPermission = "the credential may not do this: give its workspace access to the model and features that the " +
		"job uses, or use another credential, then run the same command again"
	remedyBilling = "the account cannot be billed: settle its billing or add credit in the console, then run the " +
		"same command again"
	remedySpend = "the account has reached a spend limit: raise the limit in the console or wait until it resets, " +
		"then run the same command again"
	remedyModel = "the API does not know the model: correct request.model, or use a credential that has it, then " +
		"run the same command again"
	remedyAddress = "no Messages API answers at this address: correct api.base_url (without /v1/messages), then run " +
		"the same command again"
	remedyHold = "the organization is disabled or on hold: ask the API's support to lift that, then run the same " +
		"command again"
	remedyEncryption = "the workspace's own encryption key cannot be used: enable it and the network path to it, then " +
		"run the same command again"
	remedyCertificate = "the server's certificate is not trusted: set SSL_CERT_FILE to the CA that signed it, or " +
		"correct api.base_url or this machine's clock, then run the same command again"
	remedyPlainHTTP = "the server speaks HTTP and not HTTPS: correct api.base_url or HTTPS_PROXY, then run the same " +
		"command again"
	remedyProxy = "the proxy asks for credentials: put them into HTTPS_PROXY or HTTP_PROXY (or exempt the API in " +
		"NO_PROXY), then run the same command again"
)

// remedyOfCode lists error codes and types that block whatever their status is: the service's own (SDK, package shared), and
// those of OpenAI-like gateways.
var remedyOfCode = map[string]string{
	"enforced_spend_limit_reached":            remedySpend,
	"contract_spend_limit_reached":            remedySpend,
	"linked_organization_spend_limit_reached": remedySpend,
	"organization_on_hold":                    remedyHold,
	"organization_type_not_supported":         remedyHold,
	"claude_code_key_creator_not_member":      remedyCredential,
	"cmek_key_disabled":                       remedyEncryption,
	"cmek_network_blocked":                    remedyEncryption,
	"cmek_key_network_blocked":                remedyEncryption,
	"skill_read_blocked_undecryptable":        remedyEncryption,
	"model_not_found":                         remedyModel,
	"billing_error":                           remedyBilling,
	"insufficient_quota":                      remedyBilling,
	"insufficient_user_quota":                 remedyBilling,
	"pre_consume_token_quota_failed":          remedyBilling,
}

// remedyFor returns what a person must do before any call can succeed; "" when nothing.
func remedyFor(status int, e apiError) string {
	if remedy := cmp.Or(remedyOfCode[e.code], remedyOfCode[e.kind]); remedy != "" {
		return remedy
	}
	text := strings.ToLower(e.message)
	switch status {
	case http.StatusUnauthorized:
		return remedyCredential
	case http.StatusPaymentRequired:
		return remedyBilling
	case http.StatusForbidden:
		if e.flagged || e.code == "cmek_context_unavailable" {
			return ""
		}
		return remedyPermission
	case http.StatusProxyAuthRequired:
		return remedyProxy
	case http.StatusMethodNotAllowed:
		return remedyAddress
	case http.StatusNotFound:
		switch {
		case !e.api:
			return remedyAddress
		case strings.Contains(text, "model"):
			return remedyModel
		}
	case http.StatusBadRequest:
		// Account states that the service sends as a 400 have no code of their own; these are their wordings.
		switch {
		case strings.HasPrefix(text, "you have reached your specified") && strings.Contains(text, "usage limits"):
			return remedySpend
		case strings.HasPrefix(text, "your credit balance is too low"):
			return remedyBilling
		case strings.HasPrefix(text, "this organization has been disabled"):
			return remedyHold
		case strings.Contains(text, "is not a valid model"):
			return remedyModel
		case !e.api && (strings.Contains(text, "http request to an https server") || // Go
			strings.Contains(text, "plain http request was sent to https port")): // nginx
			return remedyAddress
		}
	}
	if status/100 == 3 {
		return remedyAddress
	}
	return ""
}

// destination names where a redirect leads, without the parts of a URL that can hold secrets.
func destination(h http.Header) string {
	target, err := url.Parse(h.Get("Location"))
	if err != nil || h.Get("Location") == "" {
		return "nowhere"
	}
	if target.Host == "" {
		return target.Path
	}
	return fmt.Sprintf("%s://%s%s", target.Scheme, target.Host, target.Path)
}
