package coordinator_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs/coordinator"
)

func TestDiffWords(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("same ", 30)
	for _, test := range []struct{ name, before, after, want string }{
		{"equal", "a b c", "a b c", ""},
		{"space does not count", "a  b\nc", "a b c", ""},
		{"one word", "it is red", "it is blue", "it is -red +blue"},
		{"several words are one edit", "pay the red bill now", "pay a blue bill now", "pay -the red +a blue bill now"},
		{"from nothing", "", "a b", "+a b"},
		{"to nothing", "a b", "", "-a b"},
		{"begins and ends", "x mid y", "mid", "-x mid -y"},
		{"far words are left out", many + "red " + many, many + "blue " + many, "… same same same same -red +blue same same same same …"},
		{"a long text is compared in part", strings.Repeat("a ", 1000), strings.Repeat("a ", 1000) + "b", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, edit := range coordinator.DiffWords(test.before, test.after) {
				text := edit.Text
				if edit.Kind != coordinator.EditSame {
					text = string(edit.Kind) + text
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("edits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiffMembers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, before, after string
		want                []string
		text                bool
	}{
		{name: "equal but for space", before: `{"a": 1, "b": [1, 2]}`, after: `{"b":[1,2],"a":1}`},
		{name: "changed", before: `{"a":1,"b":"x"}`, after: `{"a":2,"b":"x"}`, want: []string{"a: 1 > 2"}},
		{name: "gone and new", before: `{"a":1}`, after: `{"b":null}`, want: []string{"a: 1 > ", "b:  > null"}},
		{name: "text", before: `yes`, after: `{"a":1}`, text: true},
		{name: "cut JSON", before: `{"a":1}`, after: `{"a":`, text: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			edits, ok := coordinator.DiffMembers(test.before, test.after)
			if ok == test.text {
				t.Fatalf("ok is %v", ok)
			}
			var got []string
			for _, e := range edits {
				got = append(got, e.Name+": "+string(e.Before)+" > "+string(e.After))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("edits (-want +got):\n%s", diff)
			}
		})
	}
}
