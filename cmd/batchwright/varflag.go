package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
)

// varFlag collects the job's vars from --var NAME=VALUE. Unlike pflag's own map it takes a value as it stands, commas
// and quotes included.
type varFlag struct{ vars *map[string]string }

func addVarFlag(flags *pflag.FlagSet, vars *map[string]string) {
	flags.Var(varFlag{vars}, "var", "value of one of the job's vars, as date=2026-11-22; repeatable")
}

// Set takes one NAME=VALUE; a later value of a name replaces an earlier one.
func (f varFlag) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return errors.New("write --var NAME=VALUE, as --var date=2026-11-22")
	}
	if *f.vars == nil {
		*f.vars = make(map[string]string)
	}
	(*f.vars)[name] = value
	return nil
}

// String is empty, so that the help shows no default.
func (f varFlag) String() string { return "" }

// Type stands for the value in the help.
func (f varFlag) Type() string { return "NAME=VALUE" }
