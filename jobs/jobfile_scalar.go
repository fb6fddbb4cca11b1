package jobs

import (
	"math/big"
	"regexp"
	"strings"
)

// What an unquoted scalar is: the core schema of YAML 1.2 (section 10.3.2), so yes and no are strings; beyond it an
// integer may have its digits grouped in threes by underscores.
var (
	yamlNull     = regexp.MustCompile(`^(null|Null|NULL|~|)$`)
	yamlBool     = regexp.MustCompile(`^(true|True|TRUE|false|False|FALSE)$`)
	yamlInteger  = regexp.MustCompile(`^[-+]?[0-9]+$`)
	yamlGrouped  = regexp.MustCompile(`^[-+]?[0-9]{1,3}(_[0-9]{3})+$`)
	yamlBased    = regexp.MustCompile(`^(0o[0-7]+|0x[0-9a-fA-F]+)$`)
	yamlFloat    = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	yamlInfinity = regexp.MustCompile(`^([-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN)$`)
)

// plainNode makes a node of an unquoted scalar.
func plainNode(text string, at place, found *problems) *node {
	n := &node{at: at, text: text, plain: true}
	switch {
	case yamlNull.MatchString(text):
		n.kind = nullNode
	case yamlBool.MatchString(text):
		n.kind = boolNode
	case yamlInfinity.MatchString(text):
		n.kind = brokenNode
		found.add(at, "%s is a number that JSON cannot hold; put it in quotes if it is text", text)
	default:
		n.kind = stringNode
		if _, ok := jsonNumber(text); ok {
			n.kind = numberNode
		}
	}
	return n
}

// jsonNumber gives a YAML number in the form that JSON has for it, digit for digit: 1.10 stays 1.10 and an integer
// of any length stays exact. It reports false for what is no number.
func jsonNumber(text string) (string, bool) {
	switch {
	case yamlGrouped.MatchString(text):
		text = strings.ReplaceAll(text, "_", "")
	case yamlBased.MatchString(text):
		base := 8
		if text[1] == 'x' {
			base = 16
		}
		value, ok := new(big.Int).SetString(text[2:], base)
		return value.String(), ok
	case !yamlInteger.MatchString(text) && !yamlFloat.MatchString(text):
		return "", false
	}
	sign := ""
	if digits, ok := strings.CutPrefix(text, "-"); ok {
		sign, text = "-", digits
	}
	text = strings.TrimPrefix(text, "+")
	exponent := ""
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		text, exponent = text[:at], text[at:]
	}
	whole, fraction, point := strings.Cut(text, ".")
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	if !point {
		return sign + whole + exponent, true
	}
	if fraction == "" {
		fraction = "0"
	}
	return sign + whole + "." + fraction + exponent, true
}
