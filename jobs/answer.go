package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// NewAnswer reads the answer section of a job, one JSON object: what each answer must look like.
//
// The short form names the members of the answer and says of each what it is:
//
//	team: [billing, tech]        # one of these texts, numbers or booleans
//	urgent: boolean              # or string, integer, number
//	amount: number?              # may also be null
//	tags: [string]               # a list of texts; [[red, blue]] is a list of choices, [{…}] one of objects
//	address: {city: string}      # an object
//	title: {type: string, description: in English}   # a JSON schema
//
// Every member is required and no other is allowed. A section with type: object and properties, or with nothing but
// schema: {…}, is a JSON schema of an object and is sent as it is given. References to other documents are refused.
func NewAnswer(node json.RawMessage) (*Answer, error) {
	if !json.Valid(node) || jsonValue(node).kind != valueObject {
		return nil, errors.New("answer must name the members of the answer: {label: [yes, no], why: string}")
	}
	schema, err := answerSchema(node)
	if err != nil {
		return nil, err
	}
	compiled, err := compileSchema(schema)
	if err != nil {
		return nil, err
	}
	properties := schemaColumns(schema)
	if len(properties) == 0 {
		return nil, errors.New("answer must describe an object with at least one property")
	}
	return &Answer{Schema: schema, Properties: properties, compiled: compiled}, nil
}

// answerSchema is the JSON schema that an answer section stands for.
func answerSchema(node json.RawMessage) (json.RawMessage, error) {
	names := memberNames(node)
	properties, _ := jsonValue(node).member("properties")
	if isObjectType(node) && properties.kind == valueObject {
		return appendCompact(nil, node), nil
	}
	if inner, ok := jsonValue(node).member("schema"); ok && len(names) == 1 && inner.kind == valueObject {
		properties, _ := inner.member("properties")
		if !isObjectType(inner.raw) || properties.kind != valueObject {
			return nil, errors.New("answer.schema must be the JSON schema of an object: type: object, with properties")
		}
		return appendCompact(nil, inner.raw), nil
	}
	return shortObject(node, "answer")
}

func isObjectType(node json.RawMessage) bool {
	kind, _ := jsonValue(node).member("type")
	return kind.kind == valueText && kind.String() == "object"
}

// shortObject turns the short form of an object into a schema. path names it in errors.
func shortObject(node json.RawMessage, path string) (json.RawMessage, error) {
	if len(memberNames(node)) == 0 {
		return nil, fmt.Errorf("%s is empty: name the members of the answer, as in {label: [yes, no]}", path)
	}
	properties, required := []byte("{"), []byte("[")
	for name, member := range ObjectMembers(node) {
		schema, err := shortSchema(member, path+"."+name)
		if err != nil {
			return nil, err
		}
		if len(required) > 1 {
			properties, required = append(properties, ','), append(required, ',')
		}
		properties = append(append(AppendString(properties, name), ':'), schema...)
		required = AppendString(required, name)
	}
	return fmt.Appendf(nil, `{"type":"object","properties":%s},"required":%s],"additionalProperties":false}`, properties, required), nil
}

// shortSchema turns the short form of one value into a schema.
func shortSchema(node json.RawMessage, path string) (json.RawMessage, error) {
	v := jsonValue(node)
	switch v.kind {
	case valueText:
		return shortType(v.String(), path)
	case valueList:
		return shortList(node, path)
	case valueObject:
		if isSchema(node) {
			return appendCompact(nil, node), nil
		}
		return shortObject(node, path)
	default:
		return nil, fmt.Errorf("%s: write a type (%s), a list of choices, or an object", path, strings.Join(scalarTypes, ", "))
	}
}

// scalarTypes are the types that the short form has words for.
var scalarTypes = []string{"string", "integer", "number", "boolean"}

func shortType(word, path string) (json.RawMessage, error) {
	name, nullable := strings.CutSuffix(word, "?")
	if !slices.Contains(scalarTypes, name) {
		message := fmt.Sprintf("%s: there is no type %q", path, word)
		if near := nearest(name, scalarTypes); near != "" {
			message += fmt.Sprintf("; did you mean %s?", near)
		}
		return nil, fmt.Errorf("%s; types are %s; a choice is written [%s, …]", message, strings.Join(scalarTypes, ", "), word)
	}
	if nullable {
		return fmt.Appendf(nil, `{"anyOf":[{"type":%q},{"type":"null"}]}`, name), nil
	}
	return fmt.Appendf(nil, `{"type":%q}`, name), nil
}

// shortList tells a list of choices from a list of one type, which is the type of a list's elements.
func shortList(node json.RawMessage, path string) (json.RawMessage, error) {
	var elements []value
	words := 0
	for raw := range ArrayElements(node) {
		v := jsonValue(raw)
		elements = append(elements, v)
		if v.kind == valueText && slices.Contains(scalarTypes, strings.TrimSuffix(v.String(), "?")) {
			words++
		}
	}
	if len(elements) == 0 {
		return nil, fmt.Errorf("%s: the list of choices is empty", path)
	}
	if first := elements[0]; len(elements) == 1 && (words == 1 || first.kind == valueObject || first.kind == valueList) {
		schema, err := shortSchema(first.raw, path)
		if err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, `{"type":"array","items":%s}`, schema), nil
	}
	if words == len(elements) {
		return nil, fmt.Errorf("%s lists types: write one of them, or [type] for a list", path)
	}
	return choices(elements, path)
}

// choices is the schema of a value that is one of several.
func choices(elements []value, path string) (json.RawMessage, error) {
	texts := make([][]byte, len(elements))
	kinds := map[valueKind]bool{}
	integers := true
	for i, v := range elements {
		if v.kind == valueList || v.kind == valueObject {
			return nil, fmt.Errorf("%s: choices are texts, numbers, booleans or null, not %s", path, v.kind)
		}
		texts[i] = v.appendJSON(nil)
		for _, other := range texts[:i] {
			if bytes.Equal(other, texts[i]) {
				return nil, fmt.Errorf("%s lists %s twice", path, other)
			}
		}
		kinds[v.kind] = true
		integers = integers && v.kind == valueNumber && !bytes.ContainsAny(v.raw, ".eE")
	}
	kind := ""
	switch {
	case len(kinds) > 1:
	case kinds[valueText]:
		kind = `"type":"string",`
	case kinds[valueBoolean]:
		kind = `"type":"boolean",`
	case integers:
		kind = `"type":"integer",`
	case kinds[valueNumber]:
		kind = `"type":"number",`
	}
	return fmt.Appendf(nil, `{%s"enum":[%s]}`, kind, bytes.Join(texts, []byte(","))), nil
}

// schemaKeywords are the members that a JSON schema of one value may have (JSON Schema 2020-12).
var schemaKeywords = []string{
	"type", "description", "title", "enum", "const", "default", "examples", "format", "pattern", "minLength", "maxLength",
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "items", "prefixItems", "minItems",
	"maxItems", "uniqueItems", "contains", "properties", "required", "additionalProperties", "patternProperties",
	"propertyNames", "minProperties", "maxProperties", "anyOf", "allOf", "oneOf", "not", "$ref", "$defs", "$comment",
}

// isSchema tells a JSON schema from the short form of an object whose members happen to be called type or enum: a
// schema has keywords only, and its type, choices or reference are what a schema has there.
func isSchema(node json.RawMessage) bool {
	for _, name := range memberNames(node) {
		if !slices.Contains(schemaKeywords, name) {
			return false
		}
	}
	v := jsonValue(node)
	for keyword, kinds := range map[string][]valueKind{
		"type": {valueText, valueList}, "enum": {valueList}, "anyOf": {valueList}, "allOf": {valueList}, "oneOf": {valueList},
		"const": {valueText, valueNumber, valueBoolean, valueNull}, "$ref": {valueText},
	} {
		found, ok := v.member(keyword)
		if !ok || !slices.Contains(kinds, found.kind) {
			continue
		}
		if keyword != "type" || found.kind == valueList || found.String() == "null" ||
			slices.Contains([]string{"array", "object"}, found.String()) || slices.Contains(scalarTypes, found.String()) {
			return true
		}
	}
	return false
}

func memberNames(node json.RawMessage) []string {
	var names []string
	for name := range ObjectMembers(node) {
		names = append(names, name)
	}
	return names
}

// closedLoader loads nothing: a schema stands for itself.
type closedLoader struct{}

func (closedLoader) Load(string) (any, error) {
	return nil, errors.New("a schema of an answer cannot refer to another document: put it under $defs")
}

// compileSchema compiles a schema for checking answers against it.
func compileSchema(schema json.RawMessage) (validator, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("read schema of answer: %w", err)
	}
	const name = "answer:///schema" // a hierarchical URL, for relative references to differ from it
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(closedLoader{})
	if err := compiler.AddResource(name, document); err != nil {
		return nil, fmt.Errorf("read schema of answer: %w", err)
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("compile schema of answer: %w", err)
	}
	return compiled, nil
}
