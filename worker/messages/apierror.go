package messages

import (
	"bytes"
	"html"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// apiError is what an error body says, in any of the shapes that servers of POST /v1/messages use.
type apiError struct {
	// api is true when the body is JSON that names an error, not a page or text of something in between.
	api bool
	// kind is error.type ("rate_limit_error").
	kind string
	// code is error.details.error_code, else error.code when that is a word.
	code string
	// number is error.code when that is a number or its text, as an HTTP status; 0 when not.
	number    int
	message   string
	requestID string
	// flagged is true when moderation refused this one prompt (OpenRouter's error.metadata).
	flagged bool
}

var htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// readError reads an error body: the API's envelope, an error object without it, an error that is text, a
// FastAPI detail, a message alone, plain text, HTML, or nothing.
func readError(body []byte) apiError {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return apiError{message: "empty body"}
	case body[0] == '<':
		return apiError{message: pageTitle(body)}
	case !wellFormed(body):
		if body[0] == '{' || body[0] == '[' {
			return apiError{message: "JSON that is cut or broken"}
		}
		return apiError{message: string(body[:min(len(body), maxScanBytes)])}
	}
	root := gjson.ParseBytes(body)
	e := apiError{requestID: word(root.Get("request_id"))}
	fault := root.Get("error")
	switch {
	case fault.IsObject():
		e.readObject(fault)
	case fault.Type == gjson.String && fault.Str != "":
		e.api, e.message = true, fault.Str
	case root.Get("detail").Exists():
		e.message = detail(root.Get("detail"))
	default:
		e.message = word(root.Get("message"))
	}
	if e.message == "" {
		e.message = "no error message in the body"
	}
	return e
}

func (e *apiError) readObject(fault gjson.Result) {
	e.api = true
	e.message = word(fault.Get("message"))
	e.kind = word(fault.Get("type"))
	if e.kind == "" || e.kind == "None" {
		e.kind = word(fault.Get("status")) // Google's name for it
	}
	code := fault.Get("code")
	if n, err := strconv.Atoi(code.String()); err == nil {
		e.number = n
	} else if code.Str != "None" {
		e.code = word(code)
	}
	if named := word(fault.Get("details.error_code")); named != "" {
		e.code = named
	}
	e.flagged = fault.Get("metadata.flagged_input").Exists()
}

// word returns a string's text, and "" for any other type.
func word(value gjson.Result) string {
	if value.Type != gjson.String {
		return ""
	}
	return value.Str
}

// detail reads FastAPI's detail: a text, or a list of {loc, msg, input}. input is left out: it is the prompt.
func detail(value gjson.Result) string {
	if !value.IsArray() {
		return word(value)
	}
	var lines []string
	value.ForEach(func(_, problem gjson.Result) bool {
		var place []string
		problem.Get("loc").ForEach(func(_, step gjson.Result) bool {
			place = append(place, step.String())
			return true
		})
		lines = append(lines, strings.Join(place, ".")+": "+word(problem.Get("msg")))
		return len(lines) < 3
	})
	return strings.Join(lines, "; ")
}

func pageTitle(page []byte) string {
	found := htmlTitle.FindSubmatch(page[:min(len(page), maxScanBytes)])
	if found == nil {
		return "a page in HTML or XML without a title"
	}
	return "page titled " + strconv.Quote(oneLine(html.UnescapeString(string(found[1]))))
}

// requestID returns the id under which the server knows the call: the service's header, a gateway's, or the body's.
func requestID(h http.Header, e apiError) string {
	for _, name := range []string{"Request-Id", "X-Request-Id", "X-Oneapi-Request-Id"} {
		if id := h.Get(name); id != "" {
			return id
		}
	}
	return e.requestID
}
