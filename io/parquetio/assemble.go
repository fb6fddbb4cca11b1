package parquetio

import (
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchwright/batchwright/jobs"
)

var errShape = errors.New("its values do not fit the rows: columns of one list differ in length")

// appendValue appends the JSON text of a node's next value, from the entries of the leaves below it.
func (r *Reader) appendValue(dst []byte, n *node) []byte {
	if n.first == n.last {
		// A struct without members has no leaves that could tell.
		return append(dst, "null"...)
	}
	first := &r.columns[n.first]
	first.peek()
	if first.def < n.def {
		r.skipEntry(n)
		return append(dst, "null"...)
	}
	switch n.typ.Kind {
	case jobs.KindStruct:
		for i := range n.children {
			dst = append(dst, separator(i, '{'))
			dst = append(dst, n.children[i].name...)
			dst = r.appendValue(dst, &n.children[i])
		}
		return append(dst, '}')
	case jobs.KindList:
		if first.def < n.full {
			r.skipEntry(n)
			return append(dst, "[]"...)
		}
		for i := 0; i == 0 || r.repeats(n); i++ {
			dst = append(dst, separator(i, '['))
			dst = r.appendValue(dst, &n.children[0])
		}
		return append(dst, ']')
	case jobs.KindMap:
		if first.def < n.full {
			r.skipEntry(n)
			return append(dst, "{}"...)
		}
		start := len(dst)
		for i := 0; i == 0 || r.repeats(n); i++ {
			dst = append(dst, separator(i, '{'))
			dst = r.appendKey(dst, &n.children[0])
			dst = r.appendValue(append(dst, ':'), &n.children[1])
		}
		dst = append(dst, '}')
		if r.problem == "" && !jsontext.Value(dst[start:]).IsValid() {
			r.problem = "column " + first.leaf.path + " holds a key twice"
		}
		return dst
	default:
		first.take()
		return r.appendLeaf(dst, first)
	}
}

// separator is what comes before the i-th part of a list or object.
func separator(i int, open byte) byte {
	if i > 0 {
		return ','
	}
	return open
}

func (r *Reader) appendLeaf(dst []byte, c *column) []byte {
	if c.err != nil {
		return dst
	}
	dst, problem := c.leaf.appendText(dst, c.value)
	if problem != "" && r.problem == "" {
		r.problem = "column " + c.leaf.path + " " + problem
	}
	return dst
}

// appendKey appends a map's key, which JSON wants to be a string.
func (r *Reader) appendKey(dst []byte, key *node) []byte {
	c := &r.columns[key.leaf]
	start := len(dst)
	dst = r.appendValue(dst, key)
	switch {
	case c.def < c.leaf.maxDef:
		if r.problem == "" {
			r.problem = "column " + c.leaf.path + " holds a null key"
		}
	case len(dst) > start && dst[start] != '"':
		text := string(dst[start:])
		dst = jobs.AppendString(dst[:start], []byte(text))
	}
	return dst
}

// skipEntry takes one entry, which stands for a null or an empty list, from every leaf below n.
func (r *Reader) skipEntry(n *node) {
	for i := n.first; i < n.last; i++ {
		r.columns[i].peek()
		r.columns[i].take()
	}
}

// repeats reports whether the list or map n goes on, on which all its leaves must agree.
func (r *Reader) repeats(n *node) bool {
	more := false
	for i := n.first; i < n.last; i++ {
		c := &r.columns[i]
		again := c.peek() && c.rep >= n.rep
		if i == n.first {
			more = again
		} else if again != more {
			c.fail(errShape)
			return false
		}
	}
	return more
}
