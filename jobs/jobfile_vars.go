package jobs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

var varName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// applyVars takes the vars section out of the tree and replaces ${name} in all other keys and scalars by the var's
// value: the one that given has, else the section's own. $${ stands for ${ itself.
//
// It works on the parsed tree, so a value is text wherever it lands and cannot add keys. Where the scalar was not in
// quotes its kind is settled again from the new text: ${n} may become a number, true or null, "${n}" stays a string.
func applyVars(root *node, given map[string]string, found *problems) {
	section := root.member("vars")
	v := vars{values: map[string]string{}, broken: map[string]bool{}, found: found}
	if section != nil {
		v.define(section, given)
		root.members = slices.DeleteFunc(root.members, func(m member) bool { return m.key == "vars" })
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !v.known(name) {
			found.add(place{flag: "--var " + name}, "the job has no var %q%s", name, v.suggest(name))
		}
	}
	v.replaceIn(root)
}

type vars struct {
	values map[string]string
	broken map[string]bool // vars with a problem that was reported
	found  *problems
}

func (v *vars) known(name string) bool {
	_, ok := v.values[name]
	return ok || v.broken[name]
}

func (v *vars) define(section *member, given map[string]string) {
	if section.value.kind != mapNode {
		if section.value.given() {
			v.found.add(section.value.at, "vars must be a map of names to values, with ~ for those that --var must give, not %s", section.value.describe())
		}
		return
	}
	for _, m := range section.value.members {
		value, isGiven := given[m.key]
		switch def := m.value; {
		case !varName.MatchString(m.key):
			v.found.add(m.at, "var %q: a name has letters, digits and _ and does not start with a digit", m.key)
			v.broken[m.key] = true
		case isGiven:
			v.values[m.key] = value
		case def.kind == nullNode:
			v.found.add(def.at, "var %s needs a value; give it with --var %s=VALUE", m.key, m.key)
			v.broken[m.key] = true
		case def.kind == listNode || def.kind == mapNode:
			v.found.add(def.at, "var %s must be a text, a number, true, false or ~, not %s", m.key, def.describe())
			v.broken[m.key] = true
		case def.kind == brokenNode:
			v.broken[m.key] = true
		case strings.Contains(def.text, "${"):
			v.found.add(def.at, "var %s: a var cannot be made of others; write the whole value", m.key)
			v.broken[m.key] = true
		default:
			v.values[m.key] = def.text
		}
	}
}

func (v *vars) suggest(name string) string {
	names := slices.Sorted(maps.Keys(v.values))
	if near := nearest(name, names); near != "" {
		return "; did you mean " + near + "?"
	}
	if len(names) == 0 {
		return "; its vars section names none"
	}
	return "; it has " + strings.Join(names, ", ")
}

func (v *vars) replaceIn(n *node) {
	switch n.kind {
	case listNode:
		for _, e := range n.elements {
			v.replaceIn(e)
		}
	case mapNode:
		have := map[string]bool{}
		for i := range n.members {
			m := &n.members[i]
			if key, ok := v.replace(m.key, m.at); ok {
				m.key = key
			}
			if have[m.key] {
				v.found.add(m.at, "key %q stands twice here once its vars are replaced", m.key)
			}
			have[m.key] = true
			v.replaceIn(m.value)
		}
	case stringNode:
		text, ok := v.replace(n.text, n.at)
		switch {
		case !ok:
			n.kind = brokenNode
		case n.plain && text != n.text && text != "":
			*n = *plainNode(text, n.at, v.found)
		default:
			n.text = text
		}
	default: // no other scalar can hold ${
	}
}

// replace gives text with its vars replaced; it reports false after a problem.
func (v *vars) replace(text string, at place) (string, bool) {
	if !strings.Contains(text, "${") {
		return text, true
	}
	var out strings.Builder
	fine := true
	for {
		start := strings.Index(text, "${")
		if start < 0 {
			out.WriteString(text)
			return out.String(), fine
		}
		if start > 0 && text[start-1] == '$' {
			out.WriteString(text[:start-1] + "${")
			text = text[start+2:]
			continue
		}
		out.WriteString(text[:start])
		name, rest, closed := strings.Cut(text[start+2:], "}")
		switch value, ok := v.values[name]; {
		case ok && closed:
			out.WriteString(value)
		case v.broken[name] && closed:
			fine = false
		case closed && varName.MatchString(name):
			v.found.add(at, "${%s}: the job has no var %q%s; for the characters themselves write $${", name, name, v.suggest(name))
			fine = false
		default:
			v.found.add(at, "${ starts a var and must be followed by its name and }; for the characters themselves write $${")
			return text, false
		}
		text = rest
	}
}
