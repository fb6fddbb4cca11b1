package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"github.com/batchwright/batchwright/jobs"
)

// Definition is how a job was given on the command line. Its paths are absolute, so that the job can be made of it
// again anywhere. It holds no credential, since a job holds none.
type Definition struct {
	// File is the job file; empty for a job that was given by flags alone.
	File string `json:"file,omitempty"`

	// What jobs.Options held.
	Vars      map[string]string `json:"vars,omitempty"`
	Set       []string          `json:"set,omitempty"`
	Input     []string          `json:"input,omitempty"`
	Output    string            `json:"output,omitempty"`
	Model     string            `json:"model,omitempty"`
	MaxTokens int64             `json:"max_tokens,omitempty"`
	System    string            `json:"system,omitempty"`
	Prompt    string            `json:"prompt,omitempty"`
}

// Define describes a job by its file (empty when it has none) and what the command line said beside it.
func Define(file string, o jobs.Options) (Definition, error) {
	d := Definition{
		Vars: o.Vars, Set: o.Set, Model: o.Model, MaxTokens: o.MaxTokens, System: o.System, Prompt: o.Prompt,
	}
	var err error
	if d.File, err = absolute(file); err != nil {
		return d, err
	}
	if d.Output, err = absolute(o.Output); err != nil {
		return d, err
	}
	for _, path := range o.Input {
		path, err := absolute(path)
		if err != nil {
			return d, err
		}
		d.Input = append(d.Input, path)
	}
	return d, nil
}

// absolute makes a path independent of the current folder; a URL and no path at all are so already.
func absolute(path string) (string, error) {
	if path == "" || strings.Contains(path, "://") {
		return path, nil
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	if strings.HasSuffix(path, "/") {
		full += "/" // a folder
	}
	return full, nil
}

// Load makes the job again, with what this command line says on top of what the first one said.
func (d *Definition) Load(o jobs.Options) (*jobs.Job, error) {
	merged := jobs.Options{
		Vars: maps.Clone(d.Vars), Set: append(append([]string(nil), d.Set...), o.Set...), Input: d.Input,
		Output: cmp.Or(o.Output, d.Output), Model: cmp.Or(o.Model, d.Model), MaxTokens: cmp.Or(o.MaxTokens, d.MaxTokens),
		System: cmp.Or(o.System, d.System), Prompt: cmp.Or(o.Prompt, d.Prompt),
	}
	if merged.Vars == nil {
		merged.Vars = make(map[string]string)
	}
	maps.Copy(merged.Vars, o.Vars)
	var job *jobs.Job
	var err error
	if d.File != "" {
		job, err = jobs.Load(d.File, merged)
	} else {
		job, err = jobs.New(merged)
	}
	if err != nil {
		return nil, &UsageError{err}
	}
	return job, nil
}
