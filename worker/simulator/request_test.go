package simulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

// with returns plainBody with members put before its own.
func with(members string) string { return "{" + members + "," + plainBody[1:] }

// saying returns a body whose messages are these.
func saying(messages string) string {
	return `{"model":"claude-haiku-4-5","max_tokens":100,"messages":` + messages + `}`
}

func TestValidation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		header     [2]string
		status     int
		// message is a part of error.message.
		message string
	}{
		{name: "accepted", body: plainBody, status: 200},
		{name: "no body", body: "", status: 400, message: "not valid JSON"},
		{name: "broken JSON", body: plainBody[:40], status: 400, message: "not valid JSON"},
		{name: "two documents", body: plainBody + plainBody, status: 400, message: "not valid JSON"},
		{name: "invalid UTF-8", body: strings.Replace(plainBody, "card", "c\xff", 1), status: 400, message: "not valid JSON"},
		{name: "nested a million deep", body: with(`"system":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000)), status: 400, message: "not valid JSON"},
		{name: "brackets in a text do not nest", body: strings.Replace(plainBody, "card", strings.Repeat("[{", 3000), 1), status: 200},
		{name: "a list", body: "[]", status: 400, message: "not a JSON object"},
		{name: "no model", body: `{"max_tokens":1,"messages":[{"role":"user","content":"a"}]}`, status: 400, message: "model: Field required"},
		{name: "empty model", body: strings.Replace(plainBody, "claude-haiku-4-5-20251001", "", 1), status: 400, message: "model: "},
		{name: "null model", body: `{"model":null,"max_tokens":1,"messages":[{"role":"user","content":"a"}]}`, status: 400, message: "model: Input should be a valid string"},
		{name: "unknown model", body: strings.Replace(plainBody, "claude-haiku", "gpt", 1), status: 404, message: "model: gpt-4-5-20251001"},
		{name: "no max_tokens", body: `{"model":"claude-x","messages":[{"role":"user","content":"a"}]}`, status: 400, message: "max_tokens: Field required"},
		{name: "max_tokens a text", body: strings.Replace(plainBody, "200", `"200"`, 1), status: 400, message: "max_tokens: Input should be"},
		{name: "max_tokens a fraction", body: strings.Replace(plainBody, "200", "2.5", 1), status: 400, message: "max_tokens: Input should be a valid integer"},
		{name: "max_tokens negative", body: strings.Replace(plainBody, "200", "-1", 1), status: 400, message: "greater than or equal to 0"},
		{name: "max_tokens huge", body: strings.Replace(plainBody, "200", "64001", 1), status: 400, message: "64001 > 64000"},
		{name: "max_tokens astronomic", body: strings.Replace(plainBody, "200", "1e300", 1), status: 400, message: "max_tokens"},
		{name: "max_tokens zero with stream", body: strings.Replace(with(`"stream":true`), "200", "0", 1), status: 400, message: "max_tokens: 0"},
		{name: "no messages", body: `{"model":"claude-x","max_tokens":1}`, status: 400, message: "messages: Field required"},
		{name: "messages a text", body: saying(`"hello"`), status: 400, message: "messages: Input should be a valid list"},
		{name: "messages empty", body: saying(`[]`), status: 400, message: "at least one message"},
		{name: "message a text", body: saying(`["hello"]`), status: 400, message: "messages.0"},
		{name: "unknown role", body: saying(`[{"role":"human","content":"a"}]`), status: 400, message: "messages.0.role"},
		{name: "no content", body: saying(`[{"role":"user"}]`), status: 400, message: "messages.0.content: Field required"},
		{name: "content a number", body: saying(`[{"role":"user","content":1}]`), status: 400, message: "messages.0.content"},
		{name: "content empty", body: saying(`[{"role":"user","content":""}]`), status: 400, message: "messages.0.content: text must not be empty"},
		{name: "member of a message misspelt", body: saying(`[{"role":"user","contents":"a"}]`), status: 400, message: "messages.0.contents: Extra inputs"},
		{name: "second message wrong", body: saying(`[{"role":"user","content":"a"},{"role":"user","content":[{"text":"a"}]}]`), status: 400, message: "messages.1.content.0: Input should be a block"},
		{name: "block of text empty", body: saying(`[{"role":"user","content":[{"type":"text","text":""}]}]`), status: 400, message: "non-empty"},
		{name: "block unknown", body: saying(`[{"role":"user","content":[{"type":"video"}]}]`), status: 400, message: `"video"`},
		{name: "image without source", body: saying(`[{"role":"user","content":[{"type":"image"}]}]`), status: 400, message: "source"},
		{name: "image", body: saying(`[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}}]}]`), status: 200},
		{name: "tool result without id", body: saying(`[{"role":"user","content":[{"type":"tool_result","content":"a"}]}]`), status: 400, message: "tool_use_id"},
		{name: "prefill on a model that allows it", body: saying(`[{"role":"user","content":"a"},{"role":"assistant","content":"{"}]`), status: 200},
		{name: "prefill on one that does not", body: strings.Replace(saying(`[{"role":"user","content":"a"},{"role":"assistant","content":"{"}]`), "haiku-4-5", "haiku-5-5", 1), status: 400, message: "prefill"},
		{name: "unknown member", body: with(`"max_token":5`), status: 400, message: "max_token: Extra inputs are not permitted"},
		{name: "optional member null", body: with(`"system":null,"tools":null,"stream":null`), status: 200},
		{name: "system a number", body: with(`"system":1`), status: 400, message: "system"},
		{name: "system an image", body: with(`"system":[{"type":"image"}]`), status: 400, message: "system.0: Input should be a text block"},
		{name: "stream a text", body: with(`"stream":"yes"`), status: 400, message: "stream: Input should be a valid boolean"},
		{name: "beta member without header", body: with(`"context_management":{}`), status: 400, message: "anthropic-beta"},
		{name: "beta member with header", body: with(`"context_management":{}`), header: [2]string{"Anthropic-Beta", "context-management-2025-06-27"}, status: 200},
		{name: "temperature", body: with(`"temperature":0.2`), status: 200},
		{name: "temperature in the newer version", body: with(`"temperature":0.2`), header: [2]string{"Anthropic-Version", "2026-10-21"}, status: 400, message: "temperature: Extra inputs"},
		{name: "no version", body: plainBody, header: [2]string{"Anthropic-Version", ""}, status: 400, message: "anthropic-version: header is required"},
		{name: "unknown version", body: plainBody, header: [2]string{"Anthropic-Version", "2024-01-01"}, status: 400, message: "anthropic-version"},
		{name: "format without schema", body: with(`"output_config":{"format":{"type":"json_schema"}}`), status: 400, message: "output_config.format"},
		{name: "tool without name", body: with(`"tools":[{}]`), status: 400, message: "tools.0.name"},
		{name: "tool without input_schema", body: with(`"tools":[{"name":"a"}]`), status: 400, message: "tools.0.input_schema"},
		{name: "tool_choice without tools", body: with(`"tool_choice":{"type":"any"}`), status: 400, message: "tool_choice"},
		{name: "tool_choice unknown", body: with(`"tool_choice":{"type":"some"}`), status: 400, message: "tool_choice.type"},
		{name: "tool_choice of a tool not there", body: with(`"tool_choice":{"type":"tool","name":"b"},"tools":[{"name":"a","input_schema":{}}]`), status: 400, message: `"b"`},
		{name: "thinking without type", body: with(`"thinking":{}`), status: 400, message: "thinking.type"},
		{name: "cache_control unknown", body: with(`"cache_control":{"type":"forever"}`), status: 400, message: "cache_control.type"},
		{name: "cache_control with a wrong time", body: with(`"cache_control":{"type":"ephemeral","ttl":"2h"}`), status: 400, message: "cache_control.ttl"},
		{name: "five breakpoints", body: with(`"system":[` + strings.Repeat(`{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},`, 4) + `{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]`), status: 400, message: "Found 5"},
		{name: "compressed", body: plainBody, header: [2]string{"Content-Encoding", "gzip"}, status: 400, message: "content-encoding"},
		{name: "no key", body: plainBody, header: [2]string{"Authorization", ""}, status: 401, message: "Bearer"},
		{name: "empty key", body: plainBody, header: [2]string{"Authorization", "Bearer "}, status: 401, message: "Bearer"},
		{name: "other scheme", body: plainBody, header: [2]string{"Authorization", "Basic abc"}, status: 401, message: "Bearer"},
	}
	types := map[int]string{400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := send(t, simulator.New(simulator.Options{}), test.body, func(r *http.Request) {
				if test.header[0] != "" {
					r.Header.Set(test.header[0], test.header[1])
				}
			})
			got := gjson.ParseBytes(w.Body.Bytes())
			if w.Code != test.status || !strings.Contains(got.Get("error.message").Str, test.message) {
				t.Fatalf("got %d %s, want %d with %q", w.Code, got, test.status, test.message)
			}
			if test.status == http.StatusOK {
				return
			}
			if got.Get("type").Str != "error" || got.Get("error.type").Str != types[test.status] || got.Get("request_id").Str != w.Header().Get("Request-Id") {
				t.Errorf("not the service's shape: %s", got)
			}
		})
	}
}

func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	huge := strings.Replace(plainBody, "card", strings.Repeat("a", 32<<20), 1)
	for name, length := range map[string]int64{"length given": int64(len(huge)), "length not given": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := send(t, simulator.New(simulator.Options{}), huge, func(r *http.Request) { r.ContentLength = length })
			if w.Code != http.StatusRequestEntityTooLarge || gjson.Get(w.Body.String(), "error.type").Str != "request_too_large" {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestBodyWithoutLength(t *testing.T) {
	t.Parallel()
	w := send(t, simulator.New(simulator.Options{}), plainBody, func(r *http.Request) { r.ContentLength = -1 })
	if w.Code != http.StatusOK {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestKeyAndModelOptions(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Options{Key: "right", AnyModel: true})
	if w := send(t, s, plainBody); w.Code != http.StatusUnauthorized {
		t.Errorf("another key got %d", w.Code)
	}
	right := func(r *http.Request) { r.Header.Set("Authorization", "Bearer right") }
	if w := send(t, s, strings.Replace(plainBody, "claude-haiku", "gpt", 1), right); w.Code != http.StatusOK {
		t.Errorf("the right key and any model got %d %s", w.Code, w.Body)
	}
}

func TestOtherPaths(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path, body string
		status                   int
		member, want             string
	}{
		{"count tokens", http.MethodPost, "/v1/messages/count_tokens", saying(`[{"role":"user","content":"four times four."}]`), 200, "input_tokens", "4"},
		{"count tokens without max_tokens", http.MethodPost, "/v1/messages/count_tokens", `{"model":"claude-x","messages":[{"role":"user","content":"a"}]}`, 200, "input_tokens", "1"},
		{"count tokens of nothing", http.MethodPost, "/v1/messages/count_tokens", `{}`, 400, "error.type", "invalid_request_error"},
		{"count tokens of an image", http.MethodPost, "/v1/messages/count_tokens", saying(`[{"role":"user","content":[{"type":"image","source":{"data":"` + strings.Repeat("a", 99999) + `"}}]}]`), 200, "input_tokens", "1500"},
		{"count tokens of a document", http.MethodPost, "/v1/messages/count_tokens", saying(`[{"role":"user","content":[{"type":"document","source":{"data":"` + strings.Repeat("a", 40000) + `"}}]}]`), 200, "input_tokens", "1002"},
		{"count tokens of system and tools", http.MethodPost, "/v1/messages/count_tokens", with(`"system":"` + strings.Repeat("a", 400) + `","tools":[{"name":"` + strings.Repeat("a", 400-len(`{"name":"","input_schema":{}}`)) + `","input_schema":{}}]`), 200, "input_tokens", "205"},
		{"count tokens of a schema", http.MethodPost, "/v1/messages/count_tokens", with(`"output_config":{"format":{"type":"json_schema","schema":{"const":"` + strings.Repeat("a", 388) + `"}}}`), 200, "input_tokens", "105"},
		{"count tokens of a tool's result", http.MethodPost, "/v1/messages/count_tokens", saying(`[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"` + strings.Repeat("a", 398) + `"}]}]`), 200, "input_tokens", "100"},
		{"models", http.MethodGet, "/v1/models", "", 200, "data.#(id==claude-opus-5-5).type", "model"},
		{"a model", http.MethodGet, "/v1/models/claude-opus-5-5", "", 200, "id", "claude-opus-5-5"},
		{"a model not there", http.MethodGet, "/v1/models/gpt", "", 404, "error.type", "not_found_error"},
		{"unknown path", http.MethodGet, "/v1/complete", "", 404, "error.type", "not_found_error"},
		{"wrong method", http.MethodGet, "/v1/messages", "", 405, "error.type", "invalid_request_error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := send(t, simulator.New(simulator.Options{}), test.body, func(r *http.Request) {
				r.Method, r.URL.Path = test.method, test.path
			})
			if got := gjson.Get(w.Body.String(), test.member).String(); w.Code != test.status || got != test.want {
				t.Errorf("got %d %s, want %d with %s %q", w.Code, w.Body, test.status, test.member, test.want)
			}
		})
	}
}
