package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// A var's value is taken as it stands: commas, quotes and further equals signs belong to it.
func TestVarFlag(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want map[string]string
		err  string
	}{
		"several":           {args: []string{"--var", "a=1", "--var=b=2"}, want: map[string]string{"a": "1", "b": "2"}},
		"comma and quotes":  {args: []string{"--var", `city="Paris", France, x=y`}, want: map[string]string{"city": `"Paris", France, x=y`}},
		"empty value":       {args: []string{"--var", "a="}, want: map[string]string{"a": ""}},
		"the last one wins": {args: []string{"--var", "a=1", "--var", "a=2"}, want: map[string]string{"a": "2"}},
		"no value":          {args: []string{"--var", "a"}, err: "write --var NAME=VALUE"},
		"no name":           {args: []string{"--var", "=a"}, err: "write --var NAME=VALUE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var vars map[string]string
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			flags.SetOutput(io.Discard)
			addVarFlag(flags, &vars)
			err := flags.Parse(test.args)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q in it", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, vars); err != nil || diff != "" {
				t.Errorf("error %v, vars (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A job file among other arguments is a mistake of its own, not an input file.
func TestLoadRefusesJobFileAmongOthers(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"job.yaml", "in.jsonl"}, {"in.jsonl", "job.yml"}, {"a.yaml", "b.yaml"}} {
		f := jobFlags{}
		if _, err := f.load(args); err == nil || !strings.Contains(err.Error(), "takes no further arguments") {
			t.Errorf("load %q: %v", args, err)
		}
	}
}
