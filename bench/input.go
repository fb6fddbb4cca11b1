package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	inputName  = "input.jsonl"
	outputName = "output.jsonl"
	// recordBytes is the length of an input line, newline included.
	recordBytes = 200
	// model and maxTokens stand in the bodies of both sides, which must be equal byte for byte.
	model     = "claude-haiku-4-5-20251001"
	maxTokens = "100"
)

var jobFile = fmt.Sprintf(`input: %s
output: %s
request:
  model: %s
  max_tokens: %s
  messages:
    - role: user
      content: "{{.text}}"
limits:
  concurrency: %d
`, inputName, outputName, model, maxTokens, concurrency)

// words are letters only, so that no side has anything to escape.
var words = strings.Fields(`the parcel came on monday but one of both cups was broken and nobody answers when we call
	so please send another or return what was paid because winter begins soon while our kitchen still waits for its lamp`)

// writeInput writes records lines of {"id":…,"text":…}, the same ones each time.
func writeInput(path string, records int) (err error) {
	file, err := os.Create(path) //nolint:gosec // a path in the scratch folder
	if err != nil {
		return fmt.Errorf("create input: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose
	buffered := bufio.NewWriterSize(file, 1<<20)
	var line []byte
	for i := range records {
		line = fmt.Appendf(line[:0], `{"id":"r%07d","text":"`, i)
		for len(line) < recordBytes-16 {
			line = append(append(line, words[random.IntN(len(words))]...), ' ')
		}
		for len(line) < recordBytes-3 {
			line = append(line, 'x')
		}
		line = append(line, '"', '}', '\n')
		if _, err := buffered.Write(line); err != nil {
			return fmt.Errorf("write input: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write input: %w", err)
	}
	return nil
}

// answers sums up an output: how many lines, and a hash over all pairs of id and response in any order.
type answers struct {
	count int
	sum   uint64
}

// String prints the count and the hash.
func (a answers) String() string { return fmt.Sprintf("%d with hash %016x", a.count, a.sum) }

// readAnswers reads an output of JSON lines. A line without a response is an error.
func readAnswers(path string) (answers, error) {
	file, err := os.Open(path) //nolint:gosec // a path in the scratch folder
	if err != nil {
		return answers{}, fmt.Errorf("open output: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	var all answers
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			fields := gjson.GetManyBytes(line, "id", "response")
			if fields[0].Str == "" || fields[1].Str == "" {
				return answers{}, fmt.Errorf("line %d of the output lacks id or response", all.count+1)
			}
			hash := fnv.New128a()
			_, _ = io.WriteString(hash, fields[0].Str+"\x00"+fields[1].Str)
			all.sum += binary.LittleEndian.Uint64(hash.Sum(nil))
			all.count++
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return answers{}, fmt.Errorf("read output: %w", err)
		}
	}
}
