package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"github.com/tidwall/gjson"
)

// Judge completes the result of a call: it prices the message and decides whether it is an answer. A refusal, an
// answer that was cut, and one that does not fit the job's schema become failed; the message stays. Result.Usage,
// Model and StopReason must be set (see ReadMessage). Results without a message are left alone.
//
// A job in the Message Batches format has no request of its own: its readers judge messages themselves, so there
// Judge only prices.
func (j *Job) Judge(res *Result) {
	if res.Message == nil {
		return
	}
	j.price(res)
	if j.Request == nil || res.Status != Succeeded {
		return
	}
	if reason, explanation := j.fault(res); reason != "" {
		res.Status, res.Reason, res.Error = Failed, reason, explanation
	}
}

func (j *Job) price(res *Result) {
	price, ok := PriceOf(res.Model)
	if !ok {
		return
	}
	usage := gjson.GetBytes(res.Message, "usage")
	price = price.At(usage.Get("speed").Str)
	res.Cost, res.Priced = price.Cost(res.Usage, usage.Get("inference_geo").Str == "us"), true
}

// fault finds why a message is not an answer (Messages API, response field stop_reason); empty when it is one.
func (j *Job) fault(res *Result) (reason Reason, explanation string) {
	switch res.StopReason {
	case "refusal":
		return ReasonRefused, "the model declined to answer"
	case "max_tokens":
		if !j.Request.prewarm {
			return ReasonTruncated, "the answer was cut at max_tokens: raise request.max_tokens"
		}
	case "model_context_window_exceeded":
		return ReasonTruncated, "the answer was cut where the model's context window ended: shorten the prompt"
	case "pause_turn":
		return ReasonTruncated, "the model paused before it had answered (stop_reason pause_turn)"
	}
	if j.Answer == nil || j.Request.prewarm {
		return "", ""
	}
	if err := j.Answer.check(Text(res.Message)); err != nil {
		return ReasonInvalid, err.Error()
	}
	return "", ""
}

// check reports why a text is not an answer that fits the schema. The error names places and rules of the schema and
// quotes nothing of the text.
func (a *Answer) check(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("the answer has no text, where the schema asks for JSON")
	case !json.Valid([]byte(text)):
		return errors.New("the answer is not JSON")
	case !jsontext.Value(text).IsValid():
		return errors.New("the answer is JSON that has a member twice or half a surrogate pair")
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return errors.New("the answer is not JSON")
	}
	if !bounded(document) {
		return errors.New("the answer has a number beyond 64 bits")
	}
	if err := a.compiled.Validate(document); err != nil {
		return errors.New("the answer does not fit the schema: " + a.mismatch(err))
	}
	for i := range a.Properties {
		column := &a.Properties[i]
		found, ok := jsonValue([]byte(text)).member(column.Name)
		if !ok {
			continue
		}
		if _, err := conform(nil, found.raw, column.Type); err != nil {
			return fmt.Errorf("the answer does not fit the schema: %s %w", column.Name, err)
		}
	}
	return nil
}

// bounded reports whether all numbers have an exponent that exact arithmetic can afford: the validator expands it.
func bounded(document any) bool {
	switch v := document.(type) {
	case json.Number:
		const largest = 400 // a little beyond a 64-bit float
		text := strings.ToLower(v.String())
		_, exponent, ok := strings.Cut(text, "e")
		if !ok {
			return true
		}
		n, err := strconv.Atoi(exponent)
		return err == nil && -largest <= n && n <= largest
	case []any:
		return !slices.ContainsFunc(v, func(element any) bool { return !bounded(element) })
	case map[string]any:
		for _, member := range v {
			if !bounded(member) {
				return false
			}
		}
	}
	return true
}

// mismatch says which rule of the schema is broken, and where. Of several it takes the first leaf. The validator's own
// sentences are not used: they quote values.
func (a *Answer) mismatch(err error) string {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return "it breaks a rule"
	}
	leaf := invalid
	for len(leaf.Causes) > 0 {
		switch leaf.ErrorKind.(type) {
		case *kind.AnyOf, *kind.OneOf:
			return a.where(leaf.InstanceLocation) + "fits none of the schemas that it may have"
		}
		leaf = leaf.Causes[0]
	}
	where := a.where(leaf.InstanceLocation)
	switch broken := leaf.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("%sis %s, must be %s", where, broken.Got, strings.Join(broken.Want, " or "))
	case *kind.Enum:
		return where + "is not one of its choices"
	case *kind.Required:
		return fmt.Sprintf("%slacks %s", where, strings.Join(broken.Missing, ", "))
	case *kind.AdditionalProperties:
		return fmt.Sprintf("%shas %d members that the schema does not name", where, len(broken.Properties))
	case *kind.FalseSchema:
		return where + "is not allowed"
	default:
		return fmt.Sprintf("%sbreaks its rule %q", where, strings.Join(broken.KeywordPath(), "."))
	}
}

// where names a place in an answer by the members that the schema names; a name that only the answer has ends it,
// because it is the model's text.
func (a *Answer) where(location []string) string {
	properties := a.Properties
	var path strings.Builder
	for _, step := range location {
		at := slices.IndexFunc(properties, func(c Column) bool { return c.Name == step })
		_, notIndex := strconv.Atoi(step)
		switch {
		case at >= 0:
			if path.Len() > 0 {
				path.WriteByte('.')
			}
			path.WriteString(step)
			properties = fieldsOf(properties[at].Type)
		case notIndex == nil && path.Len() > 0:
			path.WriteString("[" + step + "]")
		default:
			return strings.TrimSpace(path.String()+" in a part of it") + " "
		}
	}
	if path.Len() == 0 {
		return "it "
	}
	return path.String() + " "
}

// fieldsOf are the fields of a struct, or of the structs that a list holds.
func fieldsOf(t Type) Schema {
	for t.Kind == KindList {
		t = *t.Element
	}
	return t.Fields
}
