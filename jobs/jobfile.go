package jobs

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxJobFile bounds a job file in bytes; long texts belong in files of their own ({{file "system.md"}}).
const maxJobFile = 1 << 20

// defaultMaxTokens is the max_tokens of a job without a file when none was given: room for most answers, and small
// enough for the worst case of a record, which is what a budget reserves, to stay cheap.
const defaultMaxTokens = 4096

// Options is what the command line says about a job. All of it wins over the job file; Set wins over the rest.
type Options struct {
	// Vars gives values to the file's vars (--var date=2026-11-22). They replace ${…} as they are.
	Vars map[string]string
	// Set changes any key but vars (--set request.model=…): "key.path=value", list elements by number. The value is
	// a YAML scalar, or a list or map in [ ] or { }; text in quotes is always a string. Nothing in it is replaced.
	Set []string
	// Input and Output stand for the keys of that name, but a relative path starts from the current folder.
	Input  []string
	Output string
	// Model, MaxTokens and System stand for the keys of that name in request; Prompt is one user message. Zero values
	// change nothing, except that a job without a file gets max_tokens 4096.
	Model     string
	MaxTokens int64
	System    string
	Prompt    string
}

// Load reads the job file at path and what the command line says about it. It opens no other file than those that
// the request's templates name. The error lists everything wrong with the job, one line for each problem, each with
// the place it stands at and what to do about it.
//
// The steps: the YAML is parsed; ${var} is replaced in its strings; the command line changes the tree; one decoder
// checks the tree. A value of a var therefore never changes the structure of the file, whatever it contains. An
// unquoted value that a var is part of is read again as a scalar, so that max_tokens: ${n} is a number.
func Load(path string, o Options) (*Job, error) {
	src, err := readJobFile(path)
	if err != nil {
		return nil, err
	}
	return parseJob(path, src, o)
}

// parseJob makes a job of what the job file at path holds.
func parseJob(path string, src []byte, o Options) (*Job, error) {
	var found problems
	root := parseYAML(src, place{file: path}, &found)
	if len(found) > 0 {
		return nil, found.err()
	}
	if root.kind != mapNode {
		return nil, fmt.Errorf("%s: a job file is a map of keys: input, output, request, …", path)
	}
	dir := filepath.Dir(path)
	var err error
	if o.Input, o.Output, err = fromFolder(dir, o.Input, o.Output); err != nil {
		return nil, err
	}
	applyVars(root, o.Vars, &found)
	applyOverrides(root, o, &found)
	d := decoder{problems: &found, file: path}
	return d.job(root, dir, fileName(path))
}

// New makes a job without a file. Relative paths start from the current folder. Errors are like those of Load.
func New(o Options) (*Job, error) {
	var found problems
	root := &node{kind: mapNode}
	if o.MaxTokens == 0 && (o.Model != "" || o.Prompt != "") {
		o.MaxTokens = defaultMaxTokens
	}
	applyVars(root, o.Vars, &found)
	applyOverrides(root, o, &found)
	d := decoder{problems: &found}
	return d.job(root, ".", outputName(root.get("output")))
}

func readJobFile(path string) ([]byte, error) {
	about, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read job file: %w", err)
	}
	if about.Size() > maxJobFile {
		return nil, fmt.Errorf("%s: %d bytes are too many for a job file (at most %d); put long texts into files of their own and use {{file \"NAME\"}}",
			path, about.Size(), maxJobFile)
	}
	src, err := os.ReadFile(path) //nolint:gosec // the job file is the one the user named
	if err != nil {
		return nil, fmt.Errorf("read job file: %w", err)
	}
	return src, nil
}

// fromFolder turns paths that start from the current folder into paths that start from dir.
func fromFolder(dir string, input []string, output string) (in []string, out string, err error) {
	for _, path := range input {
		rebased, err := rebase(dir, path)
		if err != nil {
			return nil, "", err
		}
		in = append(in, rebased)
	}
	out, err = rebase(dir, output)
	return in, out, err
}

func rebase(dir, path string) (string, error) {
	if path == "" || filepath.IsAbs(path) || isURL(path) {
		return path, nil
	}
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find folder %s: %w", dir, err)
	}
	to, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	rebased, err := filepath.Rel(from, to)
	if err != nil {
		return "", fmt.Errorf("find %s from %s: %w", path, dir, err)
	}
	if strings.HasSuffix(path, "/") {
		rebased += "/"
	}
	return rebased, nil
}

func isURL(path string) bool { return strings.Contains(path, "://") }

// fileName is a job's name when its file gives none.
func fileName(path string) string {
	base := filepath.Base(path)
	name := strings.TrimSuffix(base, filepath.Ext(base))
	if name != "job" {
		return name
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return name
	}
	return filepath.Base(folder)
}

// outputName is a job's name when there is no file: what its output is called.
func outputName(output *node) string {
	if output == nil || output.kind != stringNode {
		return ""
	}
	path := output.text
	if isURL(path) {
		if u, err := url.Parse(path); err == nil {
			path = u.Path
		}
	}
	name := filepath.Base(path)
	for _, ending := range outputEndings {
		if rest, ok := strings.CutSuffix(name, ending); ok {
			return rest
		}
	}
	return name
}

// flagOverrides turns the flags into changes of the tree, in the order in which the keys of a request are sent.
func (o Options) flagOverrides() []override {
	var list []override
	add := func(flag, path string, value *node) {
		value.at = place{flag: flag}
		list = append(list, override{path: strings.Split(path, "."), value: value, at: value.at})
	}
	if len(o.Input) > 0 {
		input := &node{kind: listNode}
		for _, path := range o.Input {
			input.elements = append(input.elements, textNode(path, place{flag: "input"}))
		}
		add("input", "input", input)
	}
	if o.Output != "" {
		add("-o", "output", textNode(o.Output, place{}))
	}
	if o.Model != "" {
		add("--model", "request.model", textNode(o.Model, place{}))
	}
	if o.MaxTokens != 0 {
		add("--max-tokens", "request.max_tokens", &node{kind: numberNode, text: strconv.FormatInt(o.MaxTokens, 10)})
	}
	if o.System != "" {
		add("--system", "request.system", textNode(o.System, place{}))
	}
	if o.Prompt != "" {
		at := place{flag: "--prompt"}
		turn := &node{kind: mapNode, at: at, members: []member{
			{key: "role", at: at, value: textNode("user", at)},
			{key: "content", at: at, value: textNode(o.Prompt, at)},
		}}
		add("--prompt", "request.messages", &node{kind: listNode, elements: []*node{turn}})
	}
	return list
}
