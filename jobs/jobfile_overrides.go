package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// override puts a value at a path of the tree.
type override struct {
	path  []string
	value *node
	at    place
}

// applyOverrides changes the tree as the command line says: first the flags, then --set in its order.
func applyOverrides(root *node, o Options, found *problems) {
	list := o.flagOverrides()
	for _, arg := range o.Set {
		if set, ok := parseSet(arg, found); ok {
			list = append(list, set)
		}
	}
	for _, set := range list {
		if err := root.set(set.path, set.value); err != nil {
			found.add(set.at, "%s", err)
		}
	}
}

// parseSet reads "key.path=value".
func parseSet(arg string, found *problems) (override, bool) {
	key, text, ok := strings.Cut(arg, "=")
	at := place{flag: "--set " + key}
	path := strings.Split(key, ".")
	switch {
	case !ok || key == "":
		found.add(at, "write --set KEY=VALUE, such as --set limits.concurrency=8")
		return override{}, false
	case slices.Contains(path, ""):
		found.add(at, "a key between the dots is empty")
		return override{}, false
	}
	if err := checkPath(path); err != nil {
		found.add(at, "%s", err)
		return override{}, false
	}
	return override{path: path, value: parseSetValue(text, at, found), at: at}, true
}

// parseSetValue reads a YAML scalar, or a list or map in brackets. {{ starts a template, not a map.
func parseSetValue(text string, at place, found *problems) *node {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || !strings.ContainsRune(`[{"'`, rune(trimmed[0])) || strings.HasPrefix(trimmed, "{{") {
		return plainNode(text, at, found)
	}
	return parseYAML([]byte(trimmed), at, found)
}

// checkPath says what is wrong with the path of a --set.
func checkPath(path []string) error {
	section, keys := "", path
	switch path[0] {
	case "vars":
		return fmt.Errorf("a var is given by --var %s=VALUE", path[len(path)-1])
	case "request", "answer":
		return nil
	}
	if len(path) > 1 && jobKeys[path[0]] != nil {
		section, keys = path[0], path[1:]
	}
	if !slices.Contains(jobKeys[section], keys[0]) {
		return fmt.Errorf("unknown key %q%s", keys[0], explainKey(section, keys[0]))
	}
	full := joinPath(section, keys[0])
	deepest := 1
	if full == "columns.add" || full == "limits.headroom" || slices.Contains(listKeys, full) {
		deepest = 2
	}
	if len(keys) > deepest {
		return fmt.Errorf("%s has no keys of its own", strings.Join(path[:len(path)-len(keys)+deepest], "."))
	}
	return nil
}

// set puts value at path, making the maps and lists on the way.
func (n *node) set(path []string, value *node) error {
	for i, key := range path {
		last := i == len(path)-1
		if n.kind == nullNode {
			n.kind, n.text, n.at = mapNode, "", value.at
			if key == "0" {
				n.kind = listNode
			}
		}
		next := value
		if !last {
			next = &node{kind: nullNode, at: value.at}
		}
		var err error
		n, err = n.child(key, next, last)
		if err != nil {
			above := strings.Join(path[:i], ".")
			return fmt.Errorf("%s %w", above, err)
		}
	}
	return nil
}

// child gives the value below n at key. With replace it is next; else next is put there only if nothing was.
func (n *node) child(key string, next *node, replace bool) (*node, error) {
	switch n.kind {
	case mapNode:
		m := n.member(key)
		if m == nil {
			n.members = append(n.members, member{key: key, at: next.at, value: next})
			return next, nil
		}
		if replace {
			m.at, m.value = next.at, next
		}
		return m.value, nil
	case listNode:
		index, err := strconv.Atoi(key)
		switch {
		case err != nil:
			return nil, fmt.Errorf("is a list: write a number from 0 to %d in place of %q", len(n.elements), key)
		case index < 0 || index > len(n.elements):
			return nil, fmt.Errorf("is a list: the number may be 0 to %d, not %d", len(n.elements), index)
		case index == len(n.elements):
			n.elements = append(n.elements, next)
		case replace:
			n.elements[index] = next
		}
		return n.elements[index], nil
	case brokenNode:
		return next, nil
	default:
		return nil, errors.New("is " + n.describe() + ", with nothing below it")
	}
}
