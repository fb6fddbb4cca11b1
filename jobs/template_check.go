package jobs

import (
	"fmt"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/tidwall/gjson"
)

// check checks a node before any record is there, notes the columns that it uses and reads the files that it
// names. rooted says that dot is the record: within range and with it is something else.
func (c *templateCompiler) check(node parse.Node, rooted bool) error {
	switch n := node.(type) {
	case nil:
		return nil
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := c.check(child, rooted); err != nil {
				return err
			}
		}
		return nil
	case *parse.ActionNode:
		return c.checkPipe(n.Pipe, rooted)
	case *parse.IfNode:
		return c.checkBranch(&n.BranchNode, rooted, rooted)
	case *parse.WithNode:
		return c.checkBranch(&n.BranchNode, rooted, false)
	case *parse.RangeNode:
		return c.checkBranch(&n.BranchNode, rooted, false)
	case *parse.TemplateNode:
		return c.fault(n, `template is not offered: put the text in a file and write {{include "…"}}`)
	default: // text, comments, break and continue
		return nil
	}
}

func (c *templateCompiler) checkBranch(n *parse.BranchNode, rooted, listRooted bool) error {
	c.varies = true
	if err := c.checkPipe(n.Pipe, rooted); err != nil {
		return err
	}
	if err := c.check(n.List, listRooted); err != nil {
		return err
	}
	return c.check(n.ElseList, rooted)
}

func (c *templateCompiler) checkPipe(pipe *parse.PipeNode, rooted bool) error {
	if len(pipe.Decl) > 0 {
		c.varies = true
	}
	for i, command := range pipe.Cmds {
		if err := c.checkCommand(command, rooted, i > 0); err != nil {
			return err
		}
	}
	return nil
}

// checkCommand checks one command; piped says that it takes the value of the one before it.
func (c *templateCompiler) checkCommand(command *parse.CommandNode, rooted, piped bool) error {
	first, args := command.Args[0], command.Args[1:]
	if name, ok := first.(*parse.IdentifierNode); ok {
		return c.checkCall(name, args, rooted, piped)
	}
	if number, ok := first.(*parse.NumberNode); ok && strings.HasPrefix(number.Text, ".") {
		return c.fault(number, fmt.Sprintf("this is a number: write {{col %q}} for the column", number.Text[1:]))
	}
	if err := c.checkOperand(first, rooted); err != nil {
		return err
	}
	switch {
	case piped:
		return c.fault(first, first.String()+" is not a function: nothing can be piped into it")
	case len(args) > 0:
		return c.fault(first, first.String()+` is not a function: an action names one column, and {{col "…"}} one whose name is not one word`)
	default:
		return nil
	}
}

func (c *templateCompiler) checkCall(name *parse.IdentifierNode, args []parse.Node, rooted, piped bool) error {
	f, ok := functions[name.Ident]
	if !ok {
		return c.fault(name, c.unknownFunction(name.Ident, len(args) == 0 && !piped))
	}
	for _, arg := range args {
		if err := c.checkOperand(arg, rooted); err != nil {
			return err
		}
	}
	given := len(args)
	if piped {
		given++
	}
	if given < f.least || f.most >= 0 && given > f.most {
		return c.fault(name, fmt.Sprintf("%s is written {{%s}}", name.Ident, f.usage))
	}
	switch name.Ident {
	case "col", "file", "include":
		return c.checkNamed(name, args)
	default:
		return nil
	}
}

// checkNamed checks the functions whose argument must be known before any record is.
func (c *templateCompiler) checkNamed(function *parse.IdentifierNode, args []parse.Node) error {
	var literal *parse.StringNode
	if len(args) == 1 {
		literal, _ = args[0].(*parse.StringNode)
	}
	if literal == nil {
		return c.fault(function, fmt.Sprintf("%s takes one name in quotes: {{%s}}", function.Ident, functions[function.Ident].usage))
	}
	var err error
	switch function.Ident {
	case "col":
		c.use(literal.Text, function)
	case "file":
		_, err = c.file(literal.Text)
	default:
		// A fault in the file names its own place.
		return c.include(literal.Text, function)
	}
	if err != nil {
		return c.fault(function, err.Error())
	}
	return nil
}

// unknownFunction answers a word that is no function. Alone in its action it is a column without its dot, or text
// from another language that uses the same braces.
func (c *templateCompiler) unknownFunction(word string, alone bool) string {
	if near := nearest(word, functionNames); near != "" && !alone {
		return fmt.Sprintf("there is no function %q; did you mean %s? {{%s}}", word, near, functions[near].usage)
	}
	if alone {
		return fmt.Sprintf("write {{.%s}} for the column; %s", word, literalBraces)
	}
	return fmt.Sprintf("there is no function %q: a column is written {{.%s}}, and the functions are %s; %s",
		word, word, strings.Join(functionNames, ", "), literalBraces)
}

// checkOperand checks what stands for a value: at the head of a command or as an argument.
func (c *templateCompiler) checkOperand(node parse.Node, rooted bool) error {
	switch n := node.(type) {
	case *parse.FieldNode:
		c.varies = true
		if rooted {
			c.use(n.Ident[0], n)
		}
	case *parse.VariableNode:
		c.varies = true
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			c.use(n.Ident[1], n)
		}
	case *parse.DotNode:
		c.varies = true
	case *parse.ChainNode:
		if word, ok := n.Node.(*parse.IdentifierNode); ok {
			return c.fault(n, fmt.Sprintf("write {{.%s.%s}} for the column; %s", word.Ident, strings.Join(n.Field, "."), literalBraces))
		}
		return c.checkOperand(n.Node, rooted)
	case *parse.PipeNode:
		return c.checkPipe(n, rooted)
	case *parse.IdentifierNode:
		return c.fault(n, fmt.Sprintf("write .%s for the column", n.Ident))
	case *parse.NumberNode:
		return c.checkNumber(n)
	}
	return nil
}

// checkNumber gives a number the spelling that JSON has for it: Go also writes 0x1F, 1_000 and 'a'.
func (c *templateCompiler) checkNumber(n *parse.NumberNode) error {
	switch {
	case gjson.Valid(n.Text):
	case n.IsInt:
		n.Text = strconv.FormatInt(n.Int64, 10)
	case n.IsUint:
		n.Text = strconv.FormatUint(n.Uint64, 10)
	case n.IsFloat:
		n.Text = strconv.FormatFloat(n.Float64, 'g', -1, 64)
	default:
		return c.fault(n, n.Text+" is not a number that JSON has")
	}
	return nil
}

// use notes a column and where it is used first.
func (c *templateCompiler) use(column string, node parse.Node) {
	c.varies = true
	for _, known := range c.t.columns {
		if known.name == column {
			return
		}
	}
	place, action := c.action(node)
	c.t.columns = append(c.t.columns, columnUse{column, place + ": " + action})
}
