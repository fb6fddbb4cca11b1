package simulator

import (
	"math"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// schema is a JSON schema, read as far as an instance of it can be made: the keywords that structured outputs know, and
// the usual bounds.
type schema struct {
	// values are those of enum or const, and labels the same as people would write them, for a search in a text.
	values []gjson.Result
	labels []string
	// branches are those of anyOf or oneOf.
	branches []*schema
	types    []string

	properties []property
	element    *schema // of an array
	unique     bool
	least      int // of elements
	most       int // of elements; -1 is no bound

	minimum, maximum, multipleOf float64 // infinite, 0: no bound
	openBelow, openAbove         bool
	format                       string
	pattern                      *syntax.Regexp
	shortest                     int
	longest                      int // -1 is no bound
}

// newSchema returns a schema that nothing narrows.
func newSchema() *schema {
	return &schema{most: -1, longest: -1, minimum: math.Inf(-1), maximum: math.Inf(1)}
}

type property struct {
	name     string // as JSON
	schema   *schema
	required bool
}

// schemaCache keeps compiled schemas by their text: all calls of a job send the same.
type schemaCache struct {
	byText sync.Map // string to *schema
	mu     sync.Mutex
	size   int
}

// cachedSchemas bounds the cache: a job that sends another schema with each record must not fill the memory.
const cachedSchemas = 256

// compiled returns the compiled schema of a JSON text; an empty text is a schema of an empty object.
func (c *schemaCache) compiled(text string) *schema {
	if s, ok := c.byText.Load(text); ok {
		return s.(*schema)
	}
	s := compile(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size++; c.size > cachedSchemas {
		c.byText.Clear()
		c.size = 1
	}
	// Cloned, because the text is a piece of a whole request's body.
	c.byText.Store(strings.Clone(text), s)
	return s
}

// compiler reads the schemas of one document; references to the same place become the same schema, so that a
// recursive one ends.
type compiler struct {
	root gjson.Result
	refs map[string]*schema
}

func compile(text string) *schema {
	c := &compiler{root: gjson.Parse(strings.Clone(text)), refs: map[string]*schema{}}
	s := newSchema()
	c.refs["#"] = s
	c.fill(s, c.root)
	if text == "" {
		s.types = []string{"object"}
	}
	return s
}

func (c *compiler) schema(v gjson.Result) *schema {
	if ref := v.Get(`\$ref`); ref.Type == gjson.String {
		if s, ok := c.refs[ref.Str]; ok {
			return s
		}
		s := newSchema()
		c.refs[ref.Str] = s // before it is filled: it may refer to itself
		c.fill(s, c.resolve(ref.Str))
		return s
	}
	s := newSchema()
	c.fill(s, v)
	return s
}

// resolve follows a JSON pointer (RFC 6901) within the document; what it does not find is no constraint.
func (c *compiler) resolve(ref string) gjson.Result {
	v := c.root
	pointer, local := strings.CutPrefix(ref, "#")
	if !local {
		return gjson.Result{}
	}
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		var next gjson.Result
		v.ForEach(func(key, member gjson.Result) bool {
			if key.Str == step {
				next = member
			}
			return !next.Exists()
		})
		v = next
	}
	return v
}

// fill reads a schema into s; what s holds already stays, so that the parts of allOf come together.
func (c *compiler) fill(s *schema, v gjson.Result) {
	var properties, required gjson.Result
	v.ForEach(func(key, k gjson.Result) bool {
		switch key.Str {
		case "const":
			s.values = []gjson.Result{k}
		case "enum":
			if s.values == nil {
				s.values = k.Array()
			}
		case "anyOf", "oneOf":
			k.ForEach(func(_, branch gjson.Result) bool {
				s.branches = append(s.branches, c.schema(branch))
				return true
			})
		case "allOf":
			k.ForEach(func(_, part gjson.Result) bool {
				if ref := part.Get(`\$ref`); ref.Type == gjson.String && c.refs[ref.Str] == nil {
					c.refs[ref.Str] = s
					part = c.resolve(ref.Str)
				}
				c.fill(s, part)
				return true
			})
		case "$ref":
			if c.refs[k.Str] == nil {
				c.refs[k.Str] = s
				c.fill(s, c.resolve(k.Str))
			}
		case "type":
			if s.types == nil {
				for _, t := range k.Array() {
					s.types = append(s.types, t.Str)
				}
			}
		case "properties":
			properties = k
		case "required":
			required = k
		case "items":
			s.element = c.schema(k)
		case "uniqueItems":
			s.unique = k.Bool()
		default:
			s.bound(key.Str, k)
		}
		return true
	})
	c.members(s, properties, required)
	for _, value := range s.values[len(s.labels):] {
		s.labels = append(s.labels, label(value.Str))
	}
}

// bound reads one keyword that narrows a scalar or counts elements.
func (s *schema) bound(keyword string, k gjson.Result) {
	switch keyword {
	case "minItems":
		s.least = int(k.Int())
	case "maxItems":
		s.most = int(k.Int())
	case "minLength":
		s.shortest = int(k.Int())
	case "maxLength":
		s.longest = int(k.Int())
	case "minimum":
		s.minimum = k.Num
	case "maximum":
		s.maximum = k.Num
	case "exclusiveMinimum":
		s.minimum, s.openBelow = k.Num, true
	case "exclusiveMaximum":
		s.maximum, s.openAbove = k.Num, true
	case "multipleOf":
		s.multipleOf = k.Num
	case "format":
		s.format = k.Str
	case "pattern":
		// A pattern that Go cannot read is no constraint.
		s.pattern, _ = syntax.Parse(k.Str, syntax.Perl)
	}
}

// members adds an object's properties in the order of the schema; a required one that is not described may be anything.
func (c *compiler) members(s *schema, properties, required gjson.Result) {
	properties.ForEach(func(key, v gjson.Result) bool {
		s.properties = append(s.properties, property{key.Raw, c.schema(v), false})
		return true
	})
	for _, name := range required.Array() {
		found := false
		for i := range s.properties {
			if gjson.Parse(s.properties[i].name).Str == name.Str {
				s.properties[i].required, found = true, true
			}
		}
		if !found {
			s.properties = append(s.properties, property{name.Raw, newSchema(), true})
		}
	}
}

// label is a value as it would stand in a sentence: lower case, words apart.
func label(value string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return ' '
		}
		return r
	}, strings.ToLower(value))
}

// kind picks one of the types that the schema allows, or tells it from what is described.
func (s *schema) kind(d *draw) string {
	switch n := len(s.types); {
	case n == 1:
		return s.types[0]
	case n > 1:
		// A null is the rarer case in real answers.
		if t := s.types[d.below(n)]; t != "null" || d.below(3) == 0 {
			return t
		}
		for _, t := range s.types {
			if t != "null" {
				return t
			}
		}
		return "null"
	case s.properties != nil:
		return "object"
	case s.element != nil || s.least > 0:
		return "array"
	case !math.IsInf(s.minimum, 0) || !math.IsInf(s.maximum, 0) || s.multipleOf != 0:
		return "number"
	}
	return "string"
}
