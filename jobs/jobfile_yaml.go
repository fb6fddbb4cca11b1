package jobs

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a job file, far above any real one. The YAML parser calls itself for each level and each further key, and
// aliases can make a small file large.
const (
	maxYAMLTokens = 60_000
	maxYAMLDepth  = 200
	maxYAMLNodes  = 200_000
)

// yamlReader turns the YAML library's syntax tree into nodes: scalars resolved by the rules in this package, anchors
// and merge keys worked in, keys that stand twice refused.
type yamlReader struct {
	at      place // file or flag of all that is read
	found   *problems
	anchors map[string]*node
	count   int
}

// parseYAML reads one YAML document. The places of its nodes are in at's file, or at itself for a flag.
func parseYAML(src []byte, at place, found *problems) *node {
	r := yamlReader{at: at, found: found, anchors: map[string]*node{}}
	broken := &node{kind: brokenNode, at: at}
	// The library counts a byte order mark as text and CR LF as two lines; in YAML each line break means LF.
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	src = bytes.ReplaceAll(src, []byte("\r"), []byte("\n"))
	if !r.checkText(src) {
		return broken
	}
	tokens := lexer.Tokenize(string(src))
	if !r.checkTokens(tokens) {
		return broken
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // the library's own check also finds a.b beside a: {b}
	if err != nil {
		r.syntaxError(err, src)
		return broken
	}
	var root ast.Node
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.DirectiveNode:
			continue
		}
		if root != nil {
			found.add(r.place(doc.Start), "a second YAML document starts here; a job file is one document")
			return broken
		}
		root = doc.Body
	}
	if root == nil {
		found.add(at, "there is nothing in it")
		return broken
	}
	return r.node(root)
}

// checkText refuses what YAML does not allow (section 5.1) and the library lets through.
func (r *yamlReader) checkText(src []byte) bool {
	at := r.at
	line, column := 1, 1
	for rest := src; len(rest) > 0; {
		char, size := utf8.DecodeRune(rest)
		if at.flag == "" {
			at.line, at.column = line, column
		}
		switch {
		case char == utf8.RuneError && size == 1:
			r.found.add(at, "byte 0x%02x is not UTF-8; save the file as UTF-8", rest[0])
			return false
		case char < ' ' && char != '\t' && char != '\n', char == 0x7f:
			r.found.add(at, `control character U+%04X; write it as "\x%02x" in double quotes`, char, char)
			return false
		case char == '\n':
			line, column = line+1, 0
		}
		column++
		rest = rest[size:]
	}
	return true
}

func (r *yamlReader) checkTokens(tokens token.Tokens) bool {
	if len(tokens) > maxYAMLTokens {
		r.found.add(r.at, "over %d values are too many for a job file; put long texts and lists into files of their own", maxYAMLTokens/2)
		return false
	}
	// Brackets nest until they are closed; dashes and question marks nest along one line. Indentation
	// nests too, but a file of maxJobFile bytes has no room for a depth that hurts.
	brackets, line, marks := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, marks = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			marks++
		default: // does not nest
		}
		if brackets > maxYAMLDepth || marks > maxYAMLDepth {
			r.found.add(r.place(tk), "nested too deeply")
			return false
		}
	}
	return true
}

// syntaxError reports the library's error without the excerpt of the file, which may hold a prompt, that it prints.
func (r *yamlReader) syntaxError(err error, src []byte) {
	syntax, ok := errors.AsType[yaml.Error](err)
	if !ok || syntax.GetToken() == nil {
		r.found.add(r.at, "not valid YAML")
		return
	}
	at, hint := syntax.GetToken().Position, ""
	lines := bytes.Split(src, []byte("\n"))
	if line := lines[min(max(at.Line, 1), len(lines))-1]; bytes.Contains(line, []byte("{{")) || bytes.Contains(line, []byte("${")) {
		hint = "; put quotes around a value that starts with {{, and around ${…} inside [ ] or { }"
	}
	r.found.add(r.place(syntax.GetToken()), "not valid YAML: %s%s", syntax.GetMessage(), hint)
}

func (r *yamlReader) place(tk *token.Token) place {
	at := r.at
	if at.flag == "" && tk != nil && tk.Position != nil {
		at.line, at.column = tk.Position.Line, tk.Position.Column
	}
	return at
}

func (r *yamlReader) broken(tk *token.Token, format string, args ...any) *node {
	at := r.place(tk)
	r.found.add(at, format, args...)
	return &node{kind: brokenNode, at: at}
}

func (r *yamlReader) node(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(n.GetToken(), n.Values)
	case *ast.MappingValueNode:
		return r.mapping(n.GetToken(), []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		list := &node{kind: listNode, at: r.place(n.GetToken())}
		for _, value := range n.Values {
			list.elements = append(list.elements, r.node(value))
		}
		return list
	case *ast.AnchorNode:
		value := r.node(n.Value)
		r.anchors[n.Name.GetToken().Value] = value
		return value
	case *ast.AliasNode:
		return r.alias(n)
	case *ast.TagNode:
		return r.tagged(n)
	case *ast.LiteralNode:
		return textNode(blockText(n), r.place(n.GetToken()))
	case *ast.StringNode:
		if tk := n.GetToken(); tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType {
			return textNode(n.Value, r.place(tk))
		}
		return plainNode(n.Value, r.place(n.GetToken()), r.found)
	case ast.ScalarNode:
		tk := n.GetToken()
		if tk.Type == token.ImplicitNullType {
			return &node{kind: nullNode, at: r.place(tk), plain: true}
		}
		return plainNode(tk.Value, r.place(tk), r.found)
	case nil:
		return &node{kind: nullNode, at: r.at, plain: true}
	default:
		return r.broken(n.GetToken(), "a job file has no use for this YAML syntax")
	}
}

// blockText gives a block scalar's text. With the indicator "-" only line breaks are stripped from the end (YAML 1.2
// section 8.1.1.2), where the library strips the last line's spaces too.
func blockText(n *ast.LiteralNode) string {
	text := n.Value.Value
	if !strings.Contains(n.Start.Value, "-") {
		return text
	}
	written := strings.TrimRight(n.Value.Token.Origin, "\n")
	return text + written[len(strings.TrimRight(written, " ")):]
}

func (r *yamlReader) tagged(n *ast.TagNode) *node {
	value := r.node(n.Value)
	if n.Start.Value != "!!str" || len(value.elements) > 0 || len(value.members) > 0 {
		return r.broken(n.Start, "the tag %s has no meaning in a job file; leave it out", n.Start.Value)
	}
	return textNode(value.text, value.at)
}

func (r *yamlReader) alias(n *ast.AliasNode) *node {
	name := n.Value.GetToken().Value
	value, ok := r.anchors[name]
	if !ok {
		return r.broken(n.GetToken(), "no anchor &%s stands before this alias; put quotes around text that starts with *", name)
	}
	if r.count > maxYAMLNodes {
		return &node{kind: brokenNode, at: r.place(n.GetToken())} // reported
	}
	r.count += value.size()
	if r.count > maxYAMLNodes {
		return r.broken(n.GetToken(), "the aliases up to here make over %d values", maxYAMLNodes)
	}
	return value.clone()
}

func (r *yamlReader) mapping(tk *token.Token, values []*ast.MappingValueNode) *node {
	m := &node{kind: mapNode, at: r.place(tk)}
	seen := map[string]place{}
	var merged []*node // what << brings in, and where
	mergeAt := 0
	for i, entry := range values {
		keyNode, plainKey := entry.Key.(ast.Node), true
		if explicit, ok := keyNode.(*ast.MappingKeyNode); ok { // ? key
			keyNode = explicit.Value
		}
		at := r.place(keyNode.GetToken())
		if i == 0 && len(m.members) == 0 && tk.Type != token.MappingStartType {
			m.at = at // the library gives the first colon
		}
		var key string
		switch keyNode := keyNode.(type) {
		case *ast.MergeKeyNode:
			key = "<<"
		case *ast.StringNode:
			key = keyNode.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			key = keyNode.GetToken().Value
		default:
			plainKey = false
		}
		if !plainKey {
			r.found.add(at, "a key must be a word or a text in quotes")
			continue
		}
		if first, twice := seen[key]; twice {
			r.found.add(at, "key %q stands here twice; the first is at %s", key, first)
			continue
		}
		seen[key] = at
		value := r.node(entry.Value)
		if _, merge := keyNode.(*ast.MergeKeyNode); merge {
			merged, mergeAt = r.merged(value, at), len(m.members)
			continue
		}
		m.members = append(m.members, member{key: key, at: at, value: value})
	}
	m.merge(merged, mergeAt)
	return m
}

// merged lists the maps that a merge key names, strongest first.
func (r *yamlReader) merged(value *node, at place) []*node {
	maps := []*node{value}
	if value.kind == listNode {
		maps = value.elements
	}
	for _, m := range maps {
		if m.kind == brokenNode {
			return nil
		}
		if m.kind != mapNode {
			r.found.add(at, "<< takes a map or a list of maps, each by its alias: <<: *name")
			return nil
		}
	}
	return maps
}

// merge inserts the members of maps before the member at place at. A key that is there already keeps its value.
func (n *node) merge(maps []*node, at int) {
	have := map[string]bool{}
	for _, m := range n.members {
		have[m.key] = true
	}
	var added []member
	for _, source := range maps {
		for _, m := range source.members {
			if !have[m.key] {
				have[m.key] = true
				added = append(added, m)
			}
		}
	}
	n.members = append(n.members[:at:at], append(added, n.members[at:]...)...)
}
