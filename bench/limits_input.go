package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
)

// record is a line of a limits job's input.
type record struct {
	ID        string `json:"id"`
	Text      string `json:"text"`
	MaxTokens int64  `json:"max_tokens"`
}

// workload says how large requests are. With a spread (sigma) above 0 sizes are lognormal around their median.
type workload struct {
	promptTokens           float64
	maxTokens              float64
	promptSigma, maxSigma  float64
	mostPrompt, mostAnswer float64 // bounds in tokens; 0 is none
}

// bytesPerToken is how the simulator counts.
const bytesPerToken = 4

const limitsJob = `input: ` + inputName + `
output: ` + outputName + `
request:
  model: ` + model + `
  max_tokens: '{{json .max_tokens}}'
  messages:
    - role: user
      content: "{{.text}}"
`

// records returns n records, the same ones each time, and no two alike, so that nothing comes from a cache.
func (w workload) records(n int) func(yield func(record) bool) {
	return func(yield func(record) bool) {
		random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // repeatable on purpose
		text := strings.Repeat(strings.Join(words, " ")+" ", 1000)
		size := func(median, sigma, most float64) int {
			v := median * math.Exp(sigma*random.NormFloat64())
			if most > 0 {
				v = min(v, most)
			}
			return max(int(v), 8)
		}
		for i := range n {
			id := fmt.Sprintf("r%07d", i)
			bytes := min(size(w.promptTokens, w.promptSigma, w.mostPrompt)*bytesPerToken, len(text)/2)
			from := random.IntN(len(text) / 2)
			one := record{id, id + text[from:from+bytes-len(id)], int64(size(w.maxTokens, w.maxSigma, w.mostAnswer))}
			if !yield(one) {
				return
			}
		}
	}
}

// meanPrompt is the mean length of a prompt in tokens, its bound aside.
func (w workload) meanPrompt() float64 {
	return w.promptTokens * math.Exp(w.promptSigma*w.promptSigma/2)
}

// write writes n records to a file.
func (w workload) write(path string, n int) (err error) {
	file, err := os.Create(path) //nolint:gosec // a path in the scratch folder
	if err != nil {
		return fmt.Errorf("create input: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriterSize(file, 1<<20)
	encoder := json.NewEncoder(buffered)
	for r := range w.records(n) {
		if err := encoder.Encode(r); err != nil {
			return fmt.Errorf("write input: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write input: %w", err)
	}
	return nil
}
