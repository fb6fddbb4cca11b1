package coordinator

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/jobs"
)

// Values are the same when they say the same, and in a typed column when it can't hold more of them.
func TestSameValue(t *testing.T) {
	t.Parallel()
	number, narrow := jobs.Type{Kind: jobs.KindNumber}, jobs.Type{Kind: jobs.KindNumber, Bits: 32}
	object := jobs.Type{Kind: jobs.KindStruct, Fields: []jobs.Column{{Name: "a", Type: number}, {Name: "b", Type: jobs.Type{Kind: jobs.KindString}}}}
	list := jobs.Type{Kind: jobs.KindList, Element: &object}
	for name, test := range map[string]struct {
		input, output string
		typed         *jobs.Type
		want          bool
	}{
		"spelling of text":            {`"\u00e9\/"`, `"é/"`, nil, true},
		"text that spells a number":   {`"1"`, `1`, nil, false},
		"text that looks like null":   {`"null"`, `null`, nil, false},
		"true and false":              {`true`, `false`, nil, false},
		"spelling of a number":        {`1.50e1`, `15`, nil, true},
		"zeros":                       {`-0.00E7`, `0`, nil, true},
		"sign":                        {`-1`, `1`, nil, false},
		"a digit beyond floats":       {`9007199254740993`, `9007199254740992`, nil, false},
		"an exponent beyond machines": {`1e99999999999999999999`, `10e99999999999999999998`, nil, true},
		"two such exponents":          {`1e99999999999999999999`, `1e99999999999999999998`, nil, false},
		"the nearest float":           {`0.1234567890123456789`, `0.12345678901234568`, &number, true},
		"not the nearest float":       {`0.1234567890123456789`, `0.12345678901234569`, &number, false},
		"the nearest narrow float":    {`0.1`, `0.1`, &narrow, true},
		"narrow is not wide":          {`0.1`, `0.100000001`, &narrow, true},
		"order of members":            {`{"a":1,"b":[2]}`, `{"b":[2],"a":1}`, nil, true},
		"member too many":             {`{"a":1}`, `{"a":1,"b":null}`, nil, false},
		"member too few":              {`{"a":1,"b":null}`, `{"a":1}`, nil, false},
		"null for what is missing":    {`[{"a":1}]`, `[{"a":1,"b":null}]`, &list, true},
		"a value for what is missing": {`[{"a":1}]`, `[{"a":1,"b":""}]`, &list, false},
		"order of elements":           {`[1,2]`, `[2,1]`, nil, false},
		"element too many":            {`[1]`, `[1,1]`, nil, false},
		"list and object":             {`[]`, `{}`, nil, false},
		"null and empty":              {`null`, `{}`, &object, false},
	} {
		if got := sameValue(json.RawMessage(test.input), json.RawMessage(test.output), test.typed); got != test.want {
			t.Errorf("%s: %s and %s are the same: %t, want %t", name, test.input, test.output, got, test.want)
		}
	}
}

// Numbers compare as fractions do.
func FuzzSameNumber(f *testing.F) {
	f.Add("1.0", "10e-1")
	f.Add("-0", "0.0e5")
	f.Add("100", "1e3")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, text := range []string{a, b} {
			if !json.Valid([]byte(text)) || strings.Trim(text, "0123456789+-.eE") != "" || len(text) > 40 {
				t.Skip()
			}
			if _, power, ok := strings.Cut(strings.ToLower(text), "e"); ok && len(power) > 4 {
				t.Skip() // a fraction would fill the memory
			}
		}
		x, okX := new(big.Rat).SetString(a)
		y, okY := new(big.Rat).SetString(b)
		if want := x.Cmp(y) == 0; !okX || !okY || sameNumber(a, b) != want {
			t.Errorf("%s and %s are the same: %t, want %t", a, b, !want, want)
		}
	})
}
