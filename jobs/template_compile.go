package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

// templateCompiler turns a request section into the ops of a Template.
type templateCompiler struct {
	src TemplateSource
	t   *Template
	// text is what is being compiled and place says where a byte of it stands.
	text  string
	place func(offset int) string
	// including lists the files whose templates are being compiled, to find circles.
	including []string
	// varies is set when the node that is being checked needs the record or a variable.
	varies bool
}

// whereIs names a place in the request section.
func (c *templateCompiler) whereIs(pointer string) string {
	if c.src.Where != nil {
		if place := c.src.Where(pointer); place != "" {
			return place
		}
	}
	return "request" + strings.ReplaceAll(pointer, "/", ".")
}

// object compiles an object of the body. The root and its output_config take the schema of the answer in.
func (c *templateCompiler) object(raw json.RawMessage, pointer string) error {
	c.emit([]byte("{"))
	first, configured := true, false
	for key, member := range ObjectMembers(raw) {
		at := pointer + "/" + pointerEscape.Replace(key)
		if err := c.known(at, member); err != nil {
			return err
		}
		configured = configured || at == "/output_config"
		c.key(key, &first)
		if err := c.value(member, at); err != nil {
			return err
		}
	}
	if c.src.Answer != nil {
		switch {
		case pointer == "" && !configured:
			c.key("output_config", &first)
			c.emit([]byte("{"))
			first = true
			c.format(&first)
			c.emit([]byte("}"))
		case pointer == "/output_config":
			c.format(&first)
		}
	}
	c.emit([]byte("}"))
	return nil
}

// known looks at the members of the body that mean something to batchwright itself.
func (c *templateCompiler) known(pointer string, member json.RawMessage) error {
	v := jsonValue(member)
	switch pointer {
	case "/model":
		if text := v.String(); v.kind == valueText && !strings.Contains(text, "{{") {
			c.t.model = text
		}
	case "/max_tokens":
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(member)), 10, 64); err == nil {
			c.t.maxTokens, c.t.prewarm = n, n == 0
		}
	case "/stream":
		return fmt.Errorf("%s: stream does not belong in the request: write api: {stream: true}", c.whereIs(pointer))
	case "/output_config":
		if c.src.Answer != nil && v.kind != valueObject {
			return fmt.Errorf("%s: output_config must be an object beside an answer", c.whereIs(pointer))
		}
	case "/output_config/format":
		if c.src.Answer != nil {
			return fmt.Errorf("%s: both answer and request.output_config.format say what the answer looks like: keep one", c.whereIs(pointer))
		}
	}
	return nil
}

// format writes the member that asks the API for an answer that fits the schema.
func (c *templateCompiler) format(first *bool) {
	c.key("format", first)
	c.emit([]byte(`{"type":"json_schema","schema":`))
	c.emit(appendCompact(nil, c.src.Answer.Schema))
	c.emit([]byte("}"))
}

func (c *templateCompiler) key(name string, first *bool) {
	if !*first {
		c.emit([]byte(","))
	}
	*first = false
	c.emit(AppendString(nil, name))
	c.emit([]byte(":"))
}

func (c *templateCompiler) value(raw json.RawMessage, pointer string) error {
	v := jsonValue(raw)
	switch v.kind {
	case valueObject:
		return c.object(raw, pointer)
	case valueList:
		c.emit([]byte("["))
		n := 0
		for element := range ArrayElements(raw) {
			if n > 0 {
				c.emit([]byte(","))
			}
			if err := c.value(element, pointer+"/"+strconv.Itoa(n)); err != nil {
				return err
			}
			n++
		}
		c.emit([]byte("]"))
	case valueText:
		return c.template(v.String(), pointer)
	default:
		c.emit(bytes.TrimSpace(raw))
	}
	return nil
}

// emit adds bytes that never change, to those before them if they do not change either.
func (c *templateCompiler) emit(literal []byte) {
	if last := len(c.t.ops) - 1; last >= 0 && c.t.ops[last].literal != nil {
		c.t.ops[last].literal = append(c.t.ops[last].literal, literal...)
		return
	}
	c.t.ops = append(c.t.ops, op{literal: bytes.Clone(literal)})
}

// template compiles one string of the body.
func (c *templateCompiler) template(text, pointer string) error {
	if !strings.Contains(text, "{{") {
		c.emit(AppendString(nil, text))
		return nil
	}
	c.text = text
	c.place = func(offset int) string {
		if line := 1 + strings.Count(text[:offset], "\n"); line > 1 {
			return fmt.Sprintf("%s: line %d of the text", c.whereIs(pointer), line)
		}
		return c.whereIs(pointer)
	}
	root, err := c.parse()
	if err != nil {
		return err
	}
	if pipe := soleJSON(root); pipe != nil {
		if err := c.checkPipe(pipe, true); err != nil {
			return err
		}
		c.t.ops = append(c.t.ops, op{json: pipe})
		return nil
	}
	c.emit([]byte{'"'})
	for _, node := range root.Nodes {
		if err := c.node(node); err != nil {
			return err
		}
	}
	c.emit([]byte{'"'})
	return nil
}

// node compiles one node at the top of a template. What the record has no part in is rendered here, once.
func (c *templateCompiler) node(node parse.Node) error {
	c.varies = false
	if err := c.check(node, true); err != nil {
		return err
	}
	if c.varies {
		c.t.ops = append(c.t.ops, op{text: node})
		return nil
	}
	r := rendering{t: c.t, rec: &Record{}}
	text, err := r.walk(nil, node, nil)
	if err != nil {
		return c.fault(node, err.Error())
	}
	c.emit(appendEscaped(nil, text))
	return nil
}

// soleJSON returns the pipeline of a template that is nothing but one action that ends in json.
func soleJSON(root *parse.ListNode) *parse.PipeNode {
	var sole *parse.ActionNode
	for _, node := range root.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			if len(bytes.TrimSpace(n.Text)) > 0 {
				return nil
			}
		case *parse.ActionNode:
			if sole != nil || len(n.Pipe.Decl) > 0 {
				return nil
			}
			sole = n
		default:
			return nil
		}
	}
	if sole == nil {
		return nil
	}
	last := sole.Pipe.Cmds[len(sole.Pipe.Cmds)-1]
	if function, ok := last.Args[0].(*parse.IdentifierNode); ok && function.Ident == "json" {
		return sole.Pipe
	}
	return nil
}

// file reads a file that a template names. A byte order mark is not part of its text.
func (c *templateCompiler) file(name string) (string, error) {
	if text, ok := c.t.files[name]; ok {
		return text, nil
	}
	path := filepath.FromSlash(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.src.Dir, path)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the job's author names files of their own
	if err != nil {
		return "", fmt.Errorf("read file: %w", err)
	}
	if !utf8.Valid(content) {
		return "", fmt.Errorf("read file %s: it is not UTF-8: save it as UTF-8", path)
	}
	text := strings.TrimPrefix(string(content), "\uFEFF")
	c.t.files[name] = text
	return text, nil
}

// include compiles the template in a file, which node names.
func (c *templateCompiler) include(name string, node parse.Node) error {
	if slices.Contains(c.including, name) {
		return c.fault(node, "this file includes itself: "+strings.Join(append(c.including, name), " → "))
	}
	text, err := c.file(name)
	if err != nil {
		return c.fault(node, err.Error())
	}
	outerText, outerPlace := c.text, c.place
	defer func() {
		c.text, c.place = outerText, outerPlace
		c.including = c.including[:len(c.including)-1]
	}()
	c.including = append(c.including, name)
	c.text = text
	c.place = func(offset int) string {
		before := text[:offset]
		line := 1 + strings.Count(before, "\n")
		return fmt.Sprintf("%s:%d:%d", name, line, 1+utf8.RuneCountInString(before[1+strings.LastIndexByte(before, '\n'):]))
	}
	root, err := c.parse()
	if err != nil {
		return err
	}
	c.t.includes[name] = root
	return c.check(root, true)
}

// describe writes the request for people: see Template.Source.
func (c *templateCompiler) describe() (string, error) {
	described := struct {
		Request json.RawMessage   `json:"request"`
		Answer  json.RawMessage   `json:"answer,omitempty"`
		Files   map[string]Digest `json:"files,omitempty"`
	}{Request: c.src.Body, Files: map[string]Digest{}}
	if c.src.Answer != nil {
		described.Answer = c.src.Answer.Schema
	}
	for name, text := range c.t.files {
		described.Files[name] = DigestOf([]byte(text))
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(described)
	return b.String(), err
}
