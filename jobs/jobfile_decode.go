package jobs

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults of a job.
const (
	defaultMaxAttempts = 8
	defaultTimeout     = 10 * time.Minute
	// defaultVersion is the API version of which the request keys in docs and examples are (Messages API, versions).
	defaultVersion = "2023-06-01"
)

// decoder turns a checked tree into a Job and gathers what is wrong on the way.
type decoder struct {
	*problems
	// file is the job file; empty for a job without one, whose hints name flags.
	file string
}

func (d *decoder) job(root *node, dir, name string) (*Job, error) {
	d.checkKeys(root, "")
	job := &Job{
		Name:    d.name(root.get("name"), name),
		Dir:     dir,
		Input:   d.input(root.get("input")),
		Output:  d.output(root.get("output")),
		ID:      d.text(root.get("id"), "id"),
		Columns: d.columns(root.get("columns")),
		Limits:  d.limits(root.get("limits")),
		API:     d.api(root.get("api")),
		State:   d.state(root.get("state")),
	}
	job.MaxAttempts = defaultMaxAttempts
	if retry := d.section(root, "retry"); retry.get("max_attempts").given() {
		job.MaxAttempts = int(d.count(retry.get("max_attempts"), "retry.max_attempts", 1, 1000))
	}
	job.Answer = d.answer(root.get("answer"))
	job.Request = d.request(root.member("request"), job)
	if job.Answer != nil && !root.get("request").given() {
		d.add(root.get("answer").at, "answer needs a request that it belongs to; add request")
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return job, nil
}

// checkKeys reports keys of a section that no one reads.
func (d *decoder) checkKeys(section *node, name string) {
	for _, m := range section.members {
		if !slices.Contains(jobKeys[name], m.key) {
			d.add(m.at, "unknown key %q%s", m.key, explainKey(name, m.key))
		}
	}
}

// section gives a section of the job, empty when it is missing or broken.
func (d *decoder) section(root *node, name string) *node {
	return d.checkSection(root.get(name), name)
}

func (d *decoder) checkSection(n *node, name string) *node {
	empty := &node{kind: mapNode}
	switch {
	case !n.given() || n.kind == brokenNode:
		return empty
	case n.kind != mapNode:
		d.add(n.at, "%s must be a map of keys (%s), not %s", name, strings.Join(jobKeys[name], ", "), n.describe())
		return empty
	}
	d.checkKeys(n, name)
	return n
}

// missing reports a key that must be there, in the words of whoever made the job. Without a file it has no place.
func (d *decoder) missing(at place, inFile, onCommandLine string) {
	if d.file == "" {
		d.add(place{}, "%s", onCommandLine)
		return
	}
	d.add(at, "%s", inFile)
}

func (d *decoder) name(n *node, fallback string) string {
	at, name, hint := place{file: d.file}, fallback, "; add one that has, such as name: tickets"
	if n.given() {
		at, name, hint = n.at, d.text(n, "name"), ""
	} else if d.file == "" {
		hint = "; add --set name=NAME"
	}
	switch {
	case n.given() && n.kind != stringNode:
	case name == "" && !n.given():
		// There is no output either, which is reported.
	case !folderName.MatchString(name) || len(name) > maxName:
		d.add(at, "name %s names the state folder: it must have only letters, digits, . _ and -, start with a letter or digit and be at most %d long%s",
			quoted(name), maxName, hint)
	case strings.HasSuffix(name, ".simulated"):
		d.add(at, "name %s must not end in .simulated, which marks rehearsals%s", quoted(name), hint)
	}
	return name
}

func (d *decoder) input(n *node) []string {
	if !n.given() {
		d.missing(place{file: d.file}, "input is missing; add input: PATH, a list of paths, or a folder", "no input was given; name a file or a folder")
		return nil
	}
	list := d.texts(n, "input")
	if list != nil && len(list) == 0 {
		d.add(n.at, "input has no path; name a file, a glob or a folder")
	}
	for i, path := range list {
		element := n.elements[i]
		if path == "" && element.kind == stringNode {
			d.add(element.at, "input has an empty path; name a file, a glob or a folder")
		}
		d.checkScheme(element.at, "input", path)
	}
	return list
}

func (d *decoder) output(n *node) string {
	if !n.given() {
		d.missing(place{file: d.file}, "output is missing; add output: FILE, such as out/answers.jsonl", "no output was given; add -o FILE, such as -o out.jsonl")
		return ""
	}
	path := d.text(n, "output")
	if n.kind == stringNode {
		d.checkScheme(n.at, "output", path)
		d.checkOutputEnding(n.at, path)
	}
	return path
}

func (d *decoder) columns(n *node) Columns {
	section := d.checkSection(n, "columns")
	columns := Columns{Prefix: d.text(section.get("prefix"), "columns.prefix")}
	if keep := section.get("keep"); keep.given() {
		columns.Keep = d.texts(keep, "columns.keep")
		for i, name := range columns.Keep {
			if name != "" && slices.Contains(columns.Keep[:i], name) {
				d.add(keep.elements[i].at, "columns.keep names %s twice", quoted(name))
			}
		}
	}
	add := section.get("add")
	if !add.given() || add.kind == brokenNode {
		return columns
	}
	if add.kind != mapNode {
		d.add(add.at, "columns.add must be a map of new columns to paths, such as {stop: .stop_reason}, not %s", add.describe())
		return columns
	}
	for _, m := range add.members {
		path := d.text(m.value, "columns.add."+m.key)
		switch {
		case m.key == "":
			d.add(m.at, "columns.add: a column needs a name")
		case m.value.kind == brokenNode, m.value.given() && m.value.kind != stringNode: // reported
		case len(path) < 2 || path[0] != '.':
			d.add(m.value.at, "columns.add.%s must be a path into the message that starts with a dot, such as .text or .usage.input_tokens", m.key)
		}
		columns.Add = append(columns.Add, AddedColumn{Name: m.key, Path: path})
	}
	return columns
}

func (d *decoder) limits(n *node) Limits {
	section := d.checkSection(n, "limits")
	perMinute := func(key string) int64 { return d.count(section.get(key), "limits."+key, 1, maxCount) }
	return Limits{
		Concurrency:           int(d.count(section.get("concurrency"), "limits.concurrency", 1, maxConcurrency)),
		RequestsPerMinute:     perMinute("requests_per_minute"),
		InputTokensPerMinute:  perMinute("input_tokens_per_minute"),
		OutputTokensPerMinute: perMinute("output_tokens_per_minute"),
		Headroom:              d.headroom(section.get("headroom")),
		Weight:                d.weight(section.get("weight")),
		Budget:                d.budget(section.get("budget_usd")),
		MaxFailed:             d.tolerance(section.get("max_failed")),
		MaxTime:               d.duration(section.get("max_time"), "limits.max_time"),
	}
}

func (d *decoder) api(n *node) API {
	section := d.checkSection(n, "api")
	api := API{
		BaseURL: d.baseURL(section.get("base_url")),
		KeyEnv:  d.keyEnv(section.get("key_env")),
		Version: defaultVersion,
		Beta:    d.beta(section.get("beta")),
		Stream:  d.flag(section.get("stream"), "api.stream"),
		Timeout: defaultTimeout,
	}
	if version := section.get("version"); version.given() {
		api.Version = d.text(version, "api.version")
		if version.kind == stringNode && !apiVersion.MatchString(api.Version) {
			d.add(version.at, "api.version %s is no version of the API; write a date such as %s", quoted(api.Version), defaultVersion)
		}
	}
	if timeout := section.get("timeout"); timeout.given() {
		api.Timeout = d.duration(timeout, "api.timeout")
	}
	return api
}

func (d *decoder) answer(n *node) *Answer {
	if !n.given() || n.broken() {
		return nil
	}
	schema, _ := n.toJSON()
	answer, err := NewAnswer(schema)
	if err != nil {
		d.add(n.at, "%s", err)
		return nil
	}
	return answer
}

// request compiles the request; nil without one, as for input in the Message Batches format.
func (d *decoder) request(m *member, job *Job) *Template {
	if m == nil || !m.value.given() || m.value.kind == brokenNode {
		return nil
	}
	body := m.value
	if body.kind != mapNode {
		d.add(body.at, "request must be a map of keys (model, max_tokens, messages, …), not %s", body.describe())
		return nil
	}
	before := len(*d.problems)
	d.checkModel(m.at, body)
	d.checkMaxTokens(m.at, body)
	d.checkMessages(m.at, body)
	if len(*d.problems) > before || body.broken() {
		return nil
	}
	text, places := body.toJSON()
	template, err := NewTemplate(TemplateSource{
		Body:   text,
		Answer: job.Answer,
		Dir:    job.Dir,
		Where: func(pointer string) string {
			for {
				if at, ok := places[pointer]; ok {
					return at.String()
				}
				pointer = pointer[:max(0, strings.LastIndexByte(pointer, '/'))]
			}
		},
	})
	if err != nil {
		*d.problems = append(*d.problems, problem{at: body.at, text: err.Error(), placed: true})
		return nil
	}
	return template
}

func (d *decoder) checkModel(at place, body *node) {
	model := body.get("model")
	switch {
	case !model.given():
		d.missing(at, "request has no model"+misspelt(body, "model")+"; add model: NAME", "the request has no model; add --model NAME")
	case d.text(model, "request.model") == "" && model.kind == stringNode:
		d.add(model.at, "request.model is empty; name a model")
	}
}

func (d *decoder) checkMaxTokens(at place, body *node) {
	tokens := body.get("max_tokens")
	switch {
	case !tokens.given():
		d.missing(at, "request has no max_tokens"+misspelt(body, "max_tokens")+"; add max_tokens: "+strconv.Itoa(defaultMaxTokens)+", the most an answer may have",
			"the request has no max_tokens; add --max-tokens "+strconv.Itoa(defaultMaxTokens))
	case tokens.kind == stringNode && strings.Contains(tokens.text, "{{"): // a template, checked with each record
	default: // 0 warms the cache (Messages API, create a message)
		d.count(tokens, "request.max_tokens", 0, maxCount)
	}
}

func (d *decoder) checkMessages(at place, body *node) {
	messages := body.get("messages")
	switch {
	case !messages.given():
		d.missing(at, "request has no messages"+misspelt(body, "messages")+`; add messages: [{role: user, content: "…"}]`,
			"the request has no messages; add --prompt TEXT")
	case messages.kind == brokenNode, messages.kind == stringNode && strings.Contains(messages.text, "{{"):
	case messages.kind != listNode:
		d.add(messages.at, "request.messages must be a list of {role, content}, not %s", messages.describe())
	case len(messages.elements) == 0:
		d.add(messages.at, "request.messages is empty; add {role: user, content: …}")
	}
}

// misspelt points out a key of the request that was probably meant to be the missing one.
func misspelt(body *node, missing string) string {
	for _, m := range body.members {
		if nearest(m.key, requestKeys) == missing && !slices.Contains(requestKeys, m.key) {
			return " (" + m.key + " at " + m.at.String() + " may be meant)"
		}
	}
	return ""
}
