package jobs

import (
	"fmt"
	"regexp"
	"strings"
	"text/template/parse"
)

// literalBraces tells how to send what looks like an action.
const literalBraces = `to send the braces as they are, write {{"{{"}} for the first two, or put the text in a file and write {{file "…"}}`

// parse parses the current text.
func (c *templateCompiler) parse() (*parse.ListNode, error) {
	root, extra, err := parseTemplate(c.text)
	if err != nil {
		return nil, c.syntaxError(err)
	}
	if extra {
		return nil, fmt.Errorf(`%s: define and block are not offered: put the text in a file and write {{include "…"}}`, c.place(0))
	}
	return root, nil
}

// parseTemplate parses a text; extra reports that it defines further templates. Which functions there are is
// checked later, so that a column without its dot gets an answer of its own.
func parseTemplate(text string) (root *parse.ListNode, extra bool, err error) {
	tree := parse.New("t")
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		return nil, false, err
	}
	delete(trees, "t")
	return tree.Root, len(trees) > 0, nil
}

// parserPrefix is what the parser puts before its messages.
var parserPrefix = regexp.MustCompile(`^template: t:\d+(:\d+)?: `)

// syntaxError explains what the parser refused: it finds the action, which the parser does not tell, as the last
// one of the shortest beginning that is refused in the same way.
func (c *templateCompiler) syntaxError(refused error) error {
	offset, end := strings.LastIndex(c.text, "{{"), len(c.text)
	for at := 0; ; {
		next := strings.Index(c.text[at:], "}}")
		if next < 0 {
			break
		}
		at += next + len("}}")
		if _, _, err := parseTemplate(c.text[:at]); err != nil && err.Error() == refused.Error() {
			offset, end = strings.LastIndex(c.text[:at], "{{"), at
			break
		}
	}
	offset = max(offset, 0)
	for offset > 0 && c.text[offset-1] == '{' {
		offset-- // of three braces the first two begin an action
	}
	message := parserPrefix.ReplaceAllString(refused.Error(), "")
	action := c.text[offset:end]
	switch {
	case message == "unexpected EOF":
		return fmt.Errorf("%s: {{if}}, {{with}} or {{range}} lacks its {{end}}", c.place(offset))
	case strings.HasPrefix(message, "undefined variable"):
		return fmt.Errorf("%s: %s: %s: declare it first, as in {{$x := .column}}", c.place(offset), snippet(action), message)
	case strings.HasPrefix(message, "bad character") && strings.Contains(action, "."):
		return fmt.Errorf(`%s: %s: not a template action (%s): write {{col "…"}} for a column whose name is not one word; %s`,
			c.place(offset), snippet(action), message, literalBraces)
	default:
		return fmt.Errorf("%s: %s: not a template action (%s): %s", c.place(offset), snippet(action), message, literalBraces)
	}
}

// fault reports what is wrong with a node, with the action that it stands in.
func (c *templateCompiler) fault(node parse.Node, message string) error {
	place, action := c.action(node)
	return fmt.Errorf("%s: %s: %s", place, action, message)
}

// action finds the action that a node stands in: its place and how it begins.
func (c *templateCompiler) action(node parse.Node) (place, action string) {
	at := min(int(node.Position())+len("{{"), len(c.text))
	offset := max(0, strings.LastIndex(c.text[:at], "{{"))
	end := len(c.text)
	if length := strings.Index(c.text[offset:], "}}"); length >= 0 {
		end = offset + length + len("}}")
	}
	return c.place(offset), snippet(c.text[offset:end])
}

// snippet is the beginning of an action on one line.
func snippet(action string) string {
	const shown = 60
	runes := []rune(strings.Join(strings.Fields(action), " "))
	if len(runes) > shown {
		return string(runes[:shown]) + "…"
	}
	return string(runes)
}
