package jobs

import (
	"encoding/json"
	"strconv"
	"strings"
)

// node is one value of a job, with its place. The job file becomes a tree of nodes; the command line changes the
// tree; the decoder reads it.
type node struct {
	kind nodeKind
	at   place
	// text is a scalar as it was written, quotes and escapes undone.
	text string
	// plain marks an unquoted scalar, whose kind follows from its text.
	plain bool
	// members are a map's, in the order of the file; no key twice.
	members []member
	// elements are a list's.
	elements []*node
}

type member struct {
	key   string
	at    place
	value *node
}

type nodeKind int

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	listNode
	mapNode
	// brokenNode is a value that a problem was already reported for; readers pass over it in silence.
	brokenNode
)

func textNode(text string, at place) *node { return &node{kind: stringNode, text: text, at: at} }

// get returns the value of a key, or nil when there is none.
func (n *node) get(key string) *node {
	if m := n.member(key); m != nil {
		return m.value
	}
	return nil
}

func (n *node) member(key string) *member {
	if n == nil {
		return nil
	}
	for i := range n.members {
		if n.members[i].key == key {
			return &n.members[i]
		}
	}
	return nil
}

// given reports whether there is a value: neither no key nor null.
func (n *node) given() bool { return n != nil && n.kind != nullNode }

// broken reports whether a problem was already reported for a value in this subtree.
func (n *node) broken() bool {
	if n == nil {
		return false
	}
	if n.kind == brokenNode {
		return true
	}
	for _, e := range n.elements {
		if e.broken() {
			return true
		}
	}
	for _, m := range n.members {
		if m.value.broken() {
			return true
		}
	}
	return false
}

// clone copies a subtree, so that replacing vars in one use of a YAML anchor leaves the others alone.
func (n *node) clone() *node {
	c := *n
	c.elements = nil
	for _, e := range n.elements {
		c.elements = append(c.elements, e.clone())
	}
	c.members = nil
	for _, m := range n.members {
		m.value = m.value.clone()
		c.members = append(c.members, m)
	}
	return &c
}

// size counts the nodes of a subtree.
func (n *node) size() int {
	count := 1
	for _, e := range n.elements {
		count += e.size()
	}
	for _, m := range n.members {
		count += m.value.size()
	}
	return count
}

// toJSON writes a subtree as JSON, keys in their order and numbers digit for digit. It also gives the place of each
// JSON pointer into it.
func (n *node) toJSON() (text json.RawMessage, places map[string]place) {
	places = map[string]place{}
	return n.appendJSON(nil, "", places), places
}

func (n *node) appendJSON(dst []byte, pointer string, places map[string]place) []byte {
	places[pointer] = n.at
	switch n.kind {
	case boolNode:
		return append(dst, strings.ToLower(n.text)...)
	case numberNode:
		number, _ := jsonNumber(n.text)
		return append(dst, number...)
	case stringNode:
		return AppendString(dst, n.text)
	case listNode:
		dst = append(dst, '[')
		for i, e := range n.elements {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.appendJSON(dst, pointer+"/"+strconv.Itoa(i), places)
		}
		return append(dst, ']')
	case mapNode:
		dst = append(dst, '{')
		for i, m := range n.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, m.key), ':')
			dst = m.value.appendJSON(dst, pointer+"/"+pointerEscape.Replace(m.key), places)
		}
		return append(dst, '}')
	default:
		return append(dst, "null"...)
	}
}

// pointerEscape escapes a key for a JSON pointer (RFC 6901 section 3).
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")
