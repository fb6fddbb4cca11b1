package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxQuickOpeners is the number of brackets up to which JSON is checked by gjson, which recurses for each level:
// a hostile body of nothing but brackets would otherwise end the process with a stack overflow.
const maxQuickOpeners = 10_000

// wellFormed reports whether body is one whole JSON value in valid UTF-8.
func wellFormed(body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	if bytes.Count(body, []byte{'['})+bytes.Count(body, []byte{'{'}) > maxQuickOpeners {
		return json.Valid(body) // refuses what is nested deeper than 10,000
	}
	return gjson.ValidBytes(body)
}

// messageProblem says why body is no complete Message (Messages API, response body), or returns "" when it is
// one: a JSON object of full length with type "message", a stop reason and no error. It never repeats the body,
// which may hold part of an answer.
func messageProblem(body []byte) string {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return "empty body"
	case body[0] == '<':
		return "a page in HTML or XML"
	case !wellFormed(body):
		return fmt.Sprintf("%d bytes that are not well-formed JSON", len(body))
	case body[0] != '{':
		return "JSON that is not an object"
	}
	var kind, stop, fault gjson.Result
	gjson.ParseBytes(body).ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "type":
			kind = value
		case "stop_reason":
			stop = value
		case "error":
			fault = value
		}
		return true
	})
	switch {
	case fault.Exists() && fault.Type != gjson.Null:
		return "an error in place of a Message"
	case kind.Type != gjson.String || kind.Str != "message":
		return `JSON without type "message"`
	case stop.Type != gjson.String || stop.Str == "":
		return "a Message without a stop reason"
	}
	return ""
}
