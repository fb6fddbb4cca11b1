package jobs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVars(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, yaml string
		given      map[string]string
		want       string
	}{
		{"the section's own value", "vars: {a: x}\nk: p-${a}-${a}", nil, `{"k":"p-x-x"}`},
		{"a given value wins", "vars: {a: x}\nk: ${a}", map[string]string{"a": "y"}, `{"k":"y"}`},
		{"a required value", "vars: {a: ~}\nk: ${a}", map[string]string{"a": "y"}, `{"k":"y"}`},
		{"as it is written", "vars: {a: 007, b: 1.10, c: 2_000}\nk: v${a}-${b}-${c}", nil, `{"k":"v007-1.10-2_000"}`},
		{"in lists and keys", "vars: {a: x}\nk:\n- n-${a}: '${a}'", nil, `{"k":[{"n-x":"x"}]}`},
		{"in block texts", "vars: {a: x}\nk: |\n  1 ${a}\n  2\n", nil, `{"k":"1 x\n2\n"}`},
		{"a number where there are no quotes", "vars: {a: ~}\nk: ${a}\nl: \"${a}\"\nm: -${a}_000", map[string]string{"a": "5"}, `{"k":5,"l":"5","m":-5000}`},
		{"true and null where there are no quotes", "vars: {a: 'true', b: 'null'}\nk: ${a}\nl: ${b}\nm: '${b}'", nil, `{"k":true,"l":null,"m":"null"}`},
		{"an empty value is text", "vars: {a: ''}\nk: ${a}", nil, `{"k":""}`},
		{
			"a value never becomes YAML", "vars: {a: ~}\nk: ${a}\nl: x ${a}",
			map[string]string{"a": "y\nm: [1] # \"{${a} *b"},
			`{"k":"y\nm: [1] # \"{${a} *b","l":"x y\nm: [1] # \"{${a} *b"}`,
		},
		{"the characters themselves", "k: $${a} $$${b} $ {c} $x 5$\n", nil, `{"k":"${a} $${b} $ {c} $x 5$"}`},
		{"no section", "k: v", nil, `{"k":"v"}`},
		{"an empty section", "vars:\nk: v", nil, `{"k":"v"}`},
		{"each use of an anchor once", "vars: {a: '$'}\nk: &x '$${b}${a}'\nl: *x", nil, `{"k":"${b}$","l":"${b}$"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var found problems
			root := parseYAML([]byte(tc.yaml), place{file: "f"}, &found)
			applyVars(root, tc.given, &found)
			if err := found.err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, jsonOf(root)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVarsErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, yaml string
		given      map[string]string
		want       string
	}{
		{
			"not given", "vars: {a: ~, b: }\nk: ${a} ${b}", nil,
			"f:1:11: var a needs a value; give it with --var a=VALUE\nf:1:16: var b needs a value; give it with --var b=VALUE",
		},
		{
			"not there", "vars: {date: 1, region: eu}\nk: ${dat}\nl: [\"${x}\"]",
			map[string]string{"regon": "us", "zz": ""},
			"--var regon: the job has no var \"regon\"; did you mean region?\n" +
				"--var zz: the job has no var \"zz\"; it has date, region\n" +
				"f:2:4: ${dat}: the job has no var \"dat\"; did you mean date?; for the characters themselves write $${\n" +
				"f:3:5: ${x}: the job has no var \"x\"; it has date, region; for the characters themselves write $${",
		},
		{
			"no section", "k: '${a}'",
			map[string]string{"a": "1"},
			"--var a: the job has no var \"a\"; its vars section names none\n" +
				"f:1:4: ${a}: the job has no var \"a\"; its vars section names none; for the characters themselves write $${",
		},
		{
			"not a var", "k: \"${a.b}\"\nl: '${'\nm: '${a'\nn: '${}'", nil,
			"f:1:4: ${ starts a var and must be followed by its name and }; for the characters themselves write $${\n" +
				"f:2:4: ${ starts a var and must be followed by its name and }; for the characters themselves write $${\n" +
				"f:3:4: ${ starts a var and must be followed by its name and }; for the characters themselves write $${\n" +
				"f:4:4: ${ starts a var and must be followed by its name and }; for the characters themselves write $${",
		},
		{
			"not a value", "vars: {a: [1], b: {}, 1c: x}\nk: ${a}${b}", nil,
			"f:1:11: var a must be a text, a number, true, false or ~, not a list\n" +
				"f:1:19: var b must be a text, a number, true, false or ~, not a map\n" +
				"f:1:23: var \"1c\": a name has letters, digits and _ and does not start with a digit",
		},
		{
			"a var of a var", "vars: {a: 1, b: '${a}'}\nk: ${b}", nil,
			"f:1:17: var b: a var cannot be made of others; write the whole value",
		},
		{"two keys in one", "vars: {a: x}\nk: 1\nm: {n-x: 1, 'n-${a}': 2}", nil, `f:3:13: key "n-x" stands twice here once its vars are replaced`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var found problems
			root := parseYAML([]byte(tc.yaml), place{file: "f"}, &found)
			applyVars(root, tc.given, &found)
			err := found.err()
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// A problem with a var is reported once, not again for each value that it should have made.
func TestVarsBrokenValues(t *testing.T) {
	t.Parallel()
	const src = "vars: {n: ~}\ninput: ${n}\noutput: ${n}.jsonl\nrequest: {model: '${n}', max_tokens: 5, messages: '${n}', output_config: '${n}'}\nanswer: {a: string}\nlimits:\n  concurrency: ${n}\n  headroom: ${n}\n"
	_, err := parseJob("job.yaml", []byte(src), Options{})
	if want := "job.yaml:1:11: var n needs a value; give it with --var n=VALUE"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}
