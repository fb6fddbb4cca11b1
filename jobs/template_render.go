package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template/parse"
)

// rendering is the state of one rendering, with buffers that serve one after the other.
type rendering struct {
	t   *Template
	rec *Record
	// out is the body so far, text the piece of a string that is being made.
	out, text []byte
	variables []variable
}

type variable struct {
	name  string
	value value
}

// errBreak and errContinue carry break and continue up to their range.
var (
	errBreak    = errors.New("break outside range")
	errContinue = errors.New("continue outside range")
)

// release returns the buffers for the next rendering, unless a record made them large.
func (r *rendering) release() {
	const kept = 1 << 20
	if cap(r.out)+cap(r.text) > kept {
		return
	}
	r.rec, r.out, r.text, r.variables = nil, r.out[:0], r.text[:0], r.variables[:0]
	r.t.states.Put(r)
}

// body runs all ops.
func (r *rendering) body() error {
	for i := range r.t.ops {
		step := &r.t.ops[i]
		switch {
		case step.literal != nil:
			r.out = append(r.out, step.literal...)
		case step.json != nil:
			v, err := r.pipe(step.json, nil)
			if err != nil {
				return err
			}
			r.out = v.appendTo(r.out)
		default:
			text, err := r.walk(r.text[:0], step.text, nil)
			if err != nil {
				return err
			}
			r.text = text
			r.out = appendEscaped(r.out, text)
		}
	}
	return nil
}

// walk appends what a node prints. dot is nil where it is the record.
func (r *rendering) walk(dst []byte, node parse.Node, dot *value) ([]byte, error) {
	switch n := node.(type) {
	case *parse.TextNode:
		return append(dst, n.Text...), nil
	case *parse.ActionNode:
		v, err := r.pipe(n.Pipe, dot)
		switch {
		case err != nil:
			return dst, err
		case len(n.Pipe.Decl) > 0:
			return dst, nil
		case v.kind == valueMissing:
			return dst, errors.New(v.text)
		}
		return v.appendTo(dst), nil
	case *parse.ListNode:
		for _, child := range n.Nodes {
			var err error
			if dst, err = r.walk(dst, child, dot); err != nil {
				return dst, err
			}
		}
		return dst, nil
	case *parse.IfNode:
		return r.branch(dst, &n.BranchNode, dot, false)
	case *parse.WithNode:
		return r.branch(dst, &n.BranchNode, dot, true)
	case *parse.RangeNode:
		return r.loop(dst, n, dot)
	case *parse.BreakNode:
		return dst, errBreak
	case *parse.ContinueNode:
		return dst, errContinue
	default: // comments
		return dst, nil
	}
}

// branch runs if, and with, whose dot is the value of its pipeline.
func (r *rendering) branch(dst []byte, n *parse.BranchNode, dot *value, with bool) ([]byte, error) {
	defer r.forget(len(r.variables))
	v, err := r.pipe(n.Pipe, dot)
	switch {
	case err != nil:
		return dst, err
	case v.truth() && with:
		return r.walk(dst, n.List, &v)
	case v.truth():
		return r.walk(dst, n.List, dot)
	case n.ElseList != nil:
		return r.walk(dst, n.ElseList, dot)
	default:
		return dst, nil
	}
}

// loop runs range over a list, or over an object in the order of its members.
func (r *rendering) loop(dst []byte, n *parse.RangeNode, dot *value) ([]byte, error) {
	outer := len(r.variables)
	defer r.forget(outer)
	over, err := r.operands(n.Pipe, dot)
	if err != nil {
		return dst, err
	}
	rounds := 0
	round := func(key, element value) (goOn bool) {
		rounds++
		r.forget(outer)
		r.bind(n.Pipe, key, element)
		dst, err = r.walk(dst, n.List, &element)
		if errors.Is(err, errContinue) {
			err = nil
		}
		return err == nil
	}
	switch over.kind {
	case valueNull:
	case valueMissing:
		return dst, errors.New(over.text)
	case valueList:
		for raw := range ArrayElements(over.raw) {
			if !round(intValue(rounds), jsonValue(raw)) {
				break
			}
		}
	case valueObject:
		for name, raw := range ObjectMembers(over.raw) {
			if !round(textValue(name), jsonValue(raw)) {
				break
			}
		}
	default:
		return dst, fmt.Errorf("range takes a list or an object, not %s", over.kind)
	}
	if errors.Is(err, errBreak) {
		err = nil
	}
	if rounds == 0 && n.ElseList != nil {
		r.forget(outer)
		return r.walk(dst, n.ElseList, dot)
	}
	return dst, err
}

// bind gives the variables of a range their values for one round: one takes the element, two key and element.
func (r *rendering) bind(pipe *parse.PipeNode, key, element value) {
	values := []value{element}
	if len(pipe.Decl) == 2 {
		values = []value{key, element}
	}
	for i, declared := range pipe.Decl {
		r.set(declared.Ident[0], values[i], pipe.IsAssign)
	}
}

// set declares a variable, or assigns to the innermost of its name.
func (r *rendering) set(name string, v value, assign bool) {
	for i := len(r.variables) - 1; assign && i >= 0; i-- {
		if r.variables[i].name == name {
			r.variables[i].value = v
			return
		}
	}
	r.variables = append(r.variables, variable{name, v})
}

// forget ends the scope of all variables but the first n.
func (r *rendering) forget(n int) { r.variables = r.variables[:n] }

// pipe evaluates a pipeline and sets the variables that it declares.
func (r *rendering) pipe(pipe *parse.PipeNode, dot *value) (value, error) {
	v, err := r.operands(pipe, dot)
	if err != nil {
		return value{}, err
	}
	for _, declared := range pipe.Decl {
		r.set(declared.Ident[0], v, pipe.IsAssign)
	}
	return v, nil
}

// operands evaluates a pipeline without its variables.
func (r *rendering) operands(pipe *parse.PipeNode, dot *value) (value, error) {
	var v value
	for i, command := range pipe.Cmds {
		var piped *value
		if i > 0 {
			before := v
			piped = &before
		}
		var err error
		if v, err = r.command(command, piped, dot); err != nil {
			return value{}, err
		}
	}
	return v, nil
}

func (r *rendering) command(command *parse.CommandNode, piped, dot *value) (value, error) {
	name, ok := command.Args[0].(*parse.IdentifierNode)
	if !ok {
		return r.operand(command.Args[0], dot)
	}
	switch name.Ident {
	case "and", "or":
		return r.choose(name.Ident == "or", command.Args[1:], piped, dot)
	case "include":
		return r.include(command.Args[1])
	}
	f := functions[name.Ident]
	args := make([]value, 0, 4)
	for _, node := range command.Args[1:] {
		v, err := r.operand(node, dot)
		if err != nil {
			return value{}, err
		}
		args = append(args, v)
	}
	if piped != nil {
		args = append(args, *piped)
	}
	for _, v := range args {
		if v.kind == valueMissing && !f.tolerant {
			return value{}, errors.New(v.text)
		}
	}
	return f.call(r, args)
}

// include renders the template in a file with the record. The text is made aside, because it can be an argument
// within a text that is being made.
func (r *rendering) include(name parse.Node) (value, error) {
	file := name.(*parse.StringNode).Text // checked when the template was compiled
	defer r.forget(len(r.variables))
	text, err := r.walk(nil, r.t.includes[file], nil)
	return textValue(string(text)), err
}

// choose runs and and or: the first argument whose truth is decisive, or the last. Those behind it are left alone.
func (r *rendering) choose(decisive bool, args []parse.Node, piped, dot *value) (value, error) {
	var v value
	for _, node := range args {
		var err error
		if v, err = r.operand(node, dot); err != nil || v.truth() == decisive {
			return v, err
		}
	}
	if piped != nil {
		return *piped, nil
	}
	return v, nil
}

// operand evaluates what stands for a value.
func (r *rendering) operand(node parse.Node, dot *value) (value, error) {
	switch n := node.(type) {
	case *parse.FieldNode:
		if dot == nil {
			return r.members(r.column(n.Ident[0]), n, n.Ident[1:])
		}
		return r.members(*dot, n, n.Ident)
	case *parse.DotNode:
		if dot == nil {
			return r.record(), nil
		}
		return *dot, nil
	case *parse.VariableNode:
		return r.variable(n)
	case *parse.ChainNode:
		v, err := r.operand(n.Node, dot)
		if err != nil {
			return value{}, err
		}
		return r.members(v, n, n.Field)
	case *parse.PipeNode:
		defer r.forget(len(r.variables))
		return r.pipe(n, dot)
	case *parse.StringNode:
		return textValue(n.Text), nil
	case *parse.NumberNode:
		return jsonValue([]byte(n.Text)), nil
	case *parse.BoolNode:
		return boolValue(n.True), nil
	default: // nil
		return jsonValue(nil), nil
	}
}

func (r *rendering) variable(n *parse.VariableNode) (value, error) {
	if n.Ident[0] == "$" {
		if len(n.Ident) == 1 {
			return r.record(), nil
		}
		return r.members(r.column(n.Ident[1]), n, n.Ident[2:])
	}
	for _, declared := range slices.Backward(r.variables) {
		if declared.name == n.Ident[0] {
			return r.members(declared.value, n, n.Ident[1:])
		}
	}
	return value{}, fmt.Errorf("variable %s has no value here", n.Ident[0])
}

// column is a column of the record.
func (r *rendering) column(name string) value {
	if raw, ok := r.rec.Get(name); ok {
		return jsonValue(raw)
	}
	return missingValue(fmt.Sprintf("no column %q", name))
}

// record is the whole record as an object.
func (r *rendering) record() value {
	raw := []byte("{")
	for i := range r.rec.Fields {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = AppendString(raw, r.rec.Fields[i].Name)
		raw = append(raw, ':')
		raw = append(raw, r.rec.Fields[i].Value...)
	}
	return jsonValue(append(raw, '}'))
}

// members follows names into objects. Null has every member, each of them null. node is the path for the errors.
func (r *rendering) members(v value, node parse.Node, names []string) (value, error) {
	for i, name := range names {
		switch v.kind {
		case valueMissing, valueNull:
			return v, nil
		case valueObject:
			found, ok := v.member(name)
			if !ok {
				found = missingValue(fmt.Sprintf("no member %q in %s", name, node))
			}
			v = found
		default:
			return value{}, fmt.Errorf("%s: %s has no member %q", node, v.kind, strings.Join(names[i:], "."))
		}
	}
	return v, nil
}
