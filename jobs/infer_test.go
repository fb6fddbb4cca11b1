package jobs

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInferenceSettlesTypes(t *testing.T) {
	t.Parallel()
	list := func(element Type) Type { return Type{Kind: KindList, Element: &element} }
	structOf := func(fields ...Column) Type { return Type{Kind: KindStruct, Fields: fields} }
	var manyKeys, wideKeys []string
	for i := range 201 {
		manyKeys = append(manyKeys, fmt.Sprintf(`{"k%d":1}`, i))
		wideKeys = append(wideKeys, fmt.Sprintf(`"k%d":1`, i))
	}
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)

	tests := []struct {
		name   string
		values []string
		want   Type
	}{
		{"null only is a string", []string{"null", "null"}, Type{Kind: KindString}},
		{"null says nothing about the rest", []string{"null", "true"}, Type{Kind: KindBoolean}},
		{"integers", []string{"0", "-9223372036854775808", "9223372036854775807"}, Type{Kind: KindInteger}},
		{"negative zero is an integer", []string{"-0"}, Type{Kind: KindInteger}},
		{"floats", []string{"1.5", "-0.25"}, Type{Kind: KindNumber}},
		{"exponent makes a float", []string{"1e3"}, Type{Kind: KindNumber}},
		{"integer and float", []string{"1", "1.5"}, Type{Kind: KindNumber}},
		{"integer beyond 2^53 and float", []string{"9007199254740993", "1.5"}, Type{Kind: KindNumber}},
		{"one above int64", []string{"1", "9223372036854775808"}, Type{Kind: KindDecimal, Precision: 38}},
		{"one below int64", []string{"-9223372036854775809"}, Type{Kind: KindDecimal, Precision: 38}},
		{"38 digits", []string{strings.Repeat("9", 38)}, Type{Kind: KindDecimal, Precision: 38}},
		{"39 digits", []string{strings.Repeat("9", 39)}, Type{Kind: KindNumber}},
		{"the largest float", []string{"1.7976931348623157e308", "1e-400", strings.Repeat("9", 308)}, Type{Kind: KindNumber}},
		{"beyond a float", []string{"1", "1e400"}, Type{Kind: KindJSON}},
		{"beyond a float without an exponent", []string{"-" + strings.Repeat("9", 310) + " "}, Type{Kind: KindJSON}},
		{"beyond int64 and float", []string{"9223372036854775808", "0.5"}, Type{Kind: KindNumber}},
		{"strings", []string{`"a"`, `"1"`}, Type{Kind: KindString}},
		{"string and integer", []string{`"a"`, "1"}, Type{Kind: KindJSON}},
		{"boolean and integer", []string{"true", "1"}, Type{Kind: KindJSON}},
		{"list and object", []string{"[]", "{}"}, Type{Kind: KindJSON}},
		{"list unifies its elements", []string{"[1]", "[2.5, null]", "[]"}, list(Type{Kind: KindNumber})},
		{"list of a mix", []string{`[1,"a"]`}, list(Type{Kind: KindJSON})},
		{"empty list", []string{"[]"}, list(Type{Kind: KindString})},
		{"list of lists", []string{"[[1],[]]", "[[true]]"}, list(list(Type{Kind: KindJSON}))},
		{
			"members in first-seen order",
			[]string{`{"b":1,"a":"x"}`, `{"a":null,"c":[true],"b":2.5}`},
			structOf(
				Column{"b", Type{Kind: KindNumber}},
				Column{"a", Type{Kind: KindString}},
				Column{"c", list(Type{Kind: KindBoolean})},
			),
		},
		{"escaped names are one name", []string{`{"\u0061":1}`, `{"a":2}`}, structOf(Column{"a", Type{Kind: KindInteger}})},
		{"object without members", []string{"{}", "{ }"}, Type{Kind: KindJSON}},
		{"list of objects", []string{`[{"r":"u"},{"r":"a","n":1}]`}, list(structOf(
			Column{"r", Type{Kind: KindString}}, Column{"n", Type{Kind: KindInteger}},
		))},
		{"200 keys are a struct's", manyKeys[:200], structOf(columnsOf(200)...)},
		{"201 keys over records are a dictionary's", manyKeys, Type{Kind: KindJSON}},
		{"201 keys in one record", []string{"{" + strings.Join(wideKeys, ",") + "}"}, Type{Kind: KindJSON}},
		{"201 keys below lists count", []string{`[{"in":{` + strings.Join(wideKeys[:200], ",") + "}}]"}, Type{Kind: KindJSON}},
		{"brackets and quotes in strings", []string{`["]\"}{[", "\\"]`}, list(Type{Kind: KindString})},
		{"space everywhere", []string{" [ 1 , 2 ] ", "\n[\t]"}, list(Type{Kind: KindInteger})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var inf Inference
			for _, value := range test.values {
				inf.Add([]Member{{Name: "c", Value: json.RawMessage(value)}})
			}
			if diff := cmp.Diff(Schema{{"c", test.want}}, inf.Schema()); diff != "" {
				t.Errorf("schema (-want +got):\n%s", diff)
			}
			if err := inf.Err(); err != nil {
				t.Errorf("Err() = %v", err)
			}
		})
	}

	t.Run("depth is bounded", func(t *testing.T) {
		t.Parallel()
		var inf Inference
		inf.Add([]Member{{Name: "c", Value: json.RawMessage(deep)}})
		depth, at := 0, inf.Schema()[0].Type
		for at.Kind == KindList {
			depth, at = depth+1, *at.Element
		}
		if depth != maxInferredDepth || at.Kind != KindJSON {
			t.Errorf("%d lists around %s, want %d around json", depth, at.Kind, maxInferredDepth)
		}
	})
}

func columnsOf(n int) []Column {
	columns := make([]Column, n)
	for i := range columns {
		columns[i] = Column{"k" + strconv.Itoa(i), Type{Kind: KindInteger}}
	}
	return columns
}

func TestInferenceOrdersColumnsByFirstAppearance(t *testing.T) {
	t.Parallel()
	var inf Inference
	inf.Add([]Member{{"b", json.RawMessage("1")}, {"a", json.RawMessage("2")}})
	inf.Add([]Member{{"a", json.RawMessage("3")}, {"c", json.RawMessage(`"x"`)}, {"b", json.RawMessage("4.5")}})
	want := Schema{{"b", Type{Kind: KindNumber}}, {"a", Type{Kind: KindInteger}}, {"c", Type{Kind: KindString}}}
	if diff := cmp.Diff(want, inf.Schema()); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

func TestInferenceRefusesTooManyColumns(t *testing.T) {
	t.Parallel()
	var inf Inference
	for i := range maxInferredColumns {
		inf.Add([]Member{{"c" + strconv.Itoa(i), json.RawMessage("1")}})
	}
	if err := inf.Err(); err != nil {
		t.Fatalf("Err() after %d columns = %v", maxInferredColumns, err)
	}
	inf.Add([]Member{{"one more", json.RawMessage("1")}})
	if err := inf.Err(); err == nil || !strings.Contains(err.Error(), "10000 columns") {
		t.Errorf("Err() = %v, want one that says how many columns are allowed", err)
	}
}

// FuzzInference holds that any JSON value gets a type and none makes the inference fail.
func FuzzInference(f *testing.F) {
	for _, seed := range []string{"1", "-", `{"a":[{"b":null}]}`, `[[],[1e5,"]"]]`, `{"a":1,"a":"x"}`, "\"\\\"", "{"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var inf Inference
		inf.Add([]Member{{"c", json.RawMessage(text)}})
		if got := inf.Schema()[0].Type.Kind; got == "" {
			t.Error("no kind")
		}
	})
}

func BenchmarkInferenceFiveColumns(b *testing.B) {
	fields := []Member{
		{"id", json.RawMessage("12345")},
		{"text", json.RawMessage(`"` + strings.Repeat("some words ", 20) + `"`)},
		{"score", json.RawMessage("0.75")},
		{"ok", json.RawMessage("true")},
		{"note", json.RawMessage("null")},
	}
	var inf Inference
	b.ReportAllocs()
	for b.Loop() {
		inf.Add(fields)
	}
}

func ExampleInference() {
	var inf Inference
	inf.Add([]Member{{"id", json.RawMessage("1")}, {"text", json.RawMessage(`"hello"`)}})
	inf.Add([]Member{{"id", json.RawMessage("2.5")}, {"tags", json.RawMessage(`["a"]`)}})
	for _, column := range inf.Schema() {
		fmt.Println(column.Name, column.Type.Kind)
	}
	// Output:
	// id number
	// text string
	// tags list
}
