package simulator

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// request is what the simulator needs of the body of a POST /v1/messages.
type request struct {
	model     gjson.Result
	maxTokens int
	stream    bool
	thinking  bool
	// format is the schema of output_config.format; nil means free text.
	format *schema
	// tools are those of which tool_choice forces one; nil means none.
	tools []tool
	// said is the last text of the last message: what an answer is about.
	said   string
	prompt prompt
}

type tool struct {
	name  string
	input *schema
}

// fields are the body's top-level members as they come.
type fields struct {
	model, maxTokens, messages, system, stream, tools, toolChoice gjson.Result
	thinking, outputConfig, cacheControl, sampling, betaField     gjson.Result
}

const (
	version2023 = "2023-06-01"
	version2026 = "2026-10-21"
	// maxDepth is far deeper than any prompt nests; it keeps the parser's recursion small.
	maxDepth = 1000
)

// parseRequest reads a body and checks it as far as the service does that can be told cheaply. counting leaves out
// what a request to count tokens may lack.
func (s *Simulator) parseRequest(body string, header http.Header, counting bool) (*request, *problem) {
	if !utf8.ValidString(body) || tooDeep(body) || !gjson.Valid(body) {
		return nil, invalid("The request body is not valid JSON")
	}
	root := gjson.Parse(body)
	if !root.IsObject() {
		return nil, invalid("The request body is not a JSON object")
	}
	f, p := readFields(root)
	if p != nil {
		return nil, p
	}
	if p := checkVersion(header, f); p != nil {
		return nil, p
	}
	if !f.model.Exists() {
		return nil, invalid("model: Field required")
	}
	if p := s.checkModel(f.model.Str); p != nil {
		return nil, p
	}
	r := &request{model: f.model, stream: f.stream.Bool()}
	if !counting {
		if r.maxTokens, p = readMaxTokens(f); p != nil {
			return nil, p
		}
	}
	if p := s.readShape(r, f); p != nil {
		return nil, p
	}
	if r.maxTokens == 0 && !counting && (r.stream || r.thinking || r.format != nil || r.tools != nil) {
		return nil, invalid("max_tokens: 0 cannot be combined with stream, thinking, output_config.format or a forced tool")
	}
	if p := r.readPrompt(f); p != nil {
		return nil, p
	}
	return r, nil
}

func readFields(root gjson.Result) (f fields, p *problem) {
	root.ForEach(func(key, v gjson.Result) bool {
		keep, what := f.member(key)
		switch {
		case what == "":
			p = invalid("%s: Extra inputs are not permitted", key.Str)
		case v.Type == gjson.Null && keep != &f.model && keep != &f.maxTokens && keep != &f.messages:
			return true // an optional member that is null is absent
		case !fits(v, what):
			p = invalid("%s: Input should be %s", key.Str, what)
		case keep == &f.sampling || keep == &f.betaField:
			*keep = key
		case keep != nil:
			*keep = v
		}
		return p == nil
	})
	return f, p
}

// What a member can be, as it stands in the error.
const (
	aString  = "a valid string"
	aNumber  = "a valid number"
	aBoolean = "a valid boolean"
	aList    = "a valid list"
	anObject = "a valid object"
	aText    = "a string or a list of text blocks"
	aValue   = "a value"
)

// member returns where a member of the body is kept (nil: nowhere) and what it can be; empty means there is none of that name.
func (f *fields) member(key gjson.Result) (keep *gjson.Result, what string) {
	switch key.Str {
	case "model":
		return &f.model, aString
	case "max_tokens":
		return &f.maxTokens, aNumber
	case "messages":
		return &f.messages, aList
	case "system":
		return &f.system, aText
	case "stream":
		return &f.stream, aBoolean
	case "tools":
		return &f.tools, aList
	case "tool_choice":
		return &f.toolChoice, anObject
	case "thinking":
		return &f.thinking, anObject
	case "output_config":
		return &f.outputConfig, anObject
	case "cache_control":
		return &f.cacheControl, anObject
	case "temperature", "top_p", "top_k":
		return &f.sampling, aNumber
	case "stop_sequences":
		return nil, aList
	case "metadata":
		return nil, anObject
	case "service_tier", "inference_geo", "speed":
		return nil, aString
	case "container", "diagnostics":
		return nil, aValue
	case "context_management", "mcp_servers", "fallbacks", "fallback_credit_token", "thread", "billing_policy", "output_format":
		return &f.betaField, aValue
	}
	return nil, ""
}

func fits(v gjson.Result, what string) bool {
	switch what {
	case aString:
		return v.Type == gjson.String
	case aNumber:
		return v.Type == gjson.Number
	case aBoolean:
		return v.IsBool()
	case aList:
		return v.IsArray()
	case anObject:
		return v.IsObject()
	case aText:
		return v.Type == gjson.String || v.IsArray()
	}
	return true
}

// checkVersion holds the request to the contract that its anthropic-version header names.
func checkVersion(header http.Header, f fields) *problem {
	switch version := header.Get("Anthropic-Version"); version {
	case "":
		return invalid("anthropic-version: header is required")
	case "2023-01-01", version2023:
	case version2026:
		if f.sampling.Exists() {
			return invalid("%s: Extra inputs are not permitted with anthropic-version %s", f.sampling.Str, version2026)
		}
	default:
		return invalid("anthropic-version: %q is not a valid version", version)
	}
	if f.betaField.Exists() && header.Get("Anthropic-Beta") == "" {
		return invalid("%s: Extra inputs are not permitted without the anthropic-beta header for it", f.betaField.Str)
	}
	return nil
}

func (s *Simulator) checkModel(name string) *problem {
	if name == "" {
		return invalid("model: String should have at least 1 character")
	}
	if !s.options.AnyModel && !strings.HasPrefix(name, "claude") {
		return &problem{status: http.StatusNotFound, message: "model: " + name}
	}
	return nil
}

func readMaxTokens(f fields) (int, *problem) {
	v := f.maxTokens
	switch most := maxOutput(f.model.Str); {
	case !v.Exists():
		return 0, invalid("max_tokens: Field required")
	case v.Type != gjson.Number || v.Num != float64(int64(v.Num)):
		return 0, invalid("max_tokens: Input should be a valid integer")
	case v.Num < 0:
		return 0, invalid("max_tokens: Input should be greater than or equal to 0")
	case v.Num > float64(most):
		return 0, invalid("max_tokens: %s > %d, which is the most that %s can write", v.Raw, most, f.model.Str)
	}
	return int(v.Num), nil
}

// readShape reads what the answer must look like: thinking, a forced tool, a format.
func (s *Simulator) readShape(r *request, f fields) *problem {
	switch kind := f.thinking.Get("type"); kind.Str {
	case "enabled", "adaptive":
		r.thinking = true
	case "disabled", "between_tools", "":
		if f.thinking.Exists() && kind.Str == "" {
			return invalid("thinking.type: Field required")
		}
	default:
		return invalid("thinking.type: %q is not a kind of thinking", kind.Str)
	}
	if format := f.outputConfig.Get("format"); format.Exists() && format.Type != gjson.Null {
		definition := format.Get("schema")
		if format.Get("type").Str != "json_schema" || !definition.IsObject() {
			return invalid("output_config.format: Input should be an object with type json_schema and a schema")
		}
		r.format = s.schemas.compiled(definition.Raw)
	}
	return s.readTools(r, f)
}

func (s *Simulator) readTools(r *request, f fields) *problem {
	list := f.tools.Array()
	for i, t := range list {
		if t.Get("name").Str == "" {
			return invalid("tools.%d.name: Field required", i)
		}
		if kind := t.Get("type").Str; (kind == "" || kind == "custom") && !t.Get("input_schema").IsObject() {
			return invalid("tools.%d.input_schema: Field required", i)
		}
	}
	choice := f.toolChoice.Get("type").Str
	switch choice {
	case "", "auto", "none":
		if f.toolChoice.Exists() && choice == "" {
			return invalid("tool_choice.type: Field required")
		}
		return nil
	case "any", "tool":
	default:
		return invalid("tool_choice.type: %q is none of auto, any, tool, none", choice)
	}
	if len(list) == 0 {
		return invalid("tool_choice: %s needs tools to choose from", choice)
	}
	for _, t := range list {
		name := t.Get("name").Str
		if choice == "any" || name == f.toolChoice.Get("name").Str {
			r.tools = append(r.tools, tool{name, s.schemas.compiled(t.Get("input_schema").Raw)})
		}
	}
	if r.tools == nil {
		return invalid("tool_choice.name: there is no tool named %q", f.toolChoice.Get("name").Str)
	}
	return nil
}

// tooDeep reports whether arrays and objects nest deeper than maxDepth.
func tooDeep(body string) bool {
	if strings.Count(body, "[")+strings.Count(body, "{") <= maxDepth {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}
