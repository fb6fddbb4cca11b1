package coordinator

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/jobs"
)

// EditKind says what became of a piece of an answer.
type EditKind byte

// The kinds of edits.
const (
	EditSame    EditKind = ' '
	EditRemoved EditKind = '-'
	EditAdded   EditKind = '+'
)

// Edit is a piece of the difference between two texts: words that stayed, went or came. Where it leaves words out,
// that stayed or that are too many, an ellipsis stands for them.
type Edit struct {
	Kind EditKind
	Text string
}

const (
	// maxDiffWords bounds the work of a comparison, which grows with the square of it.
	maxDiffWords = 400
	// diffContext is how many words that stayed are shown beside each change.
	diffContext = 4
)

const ellipsis = "…"

// DiffWords tells in which words two texts differ; nil when they don't, as far as they are compared: space between
// words does not count, nor does what follows the first 400.
func DiffWords(before, after string) []Edit {
	a, b := diffWords(before), diffWords(after)
	// common[i][j] is the length of the longest common sequence of a[i:] and b[j:].
	common := make([][]uint16, len(a)+1)
	for i := range common {
		common[i] = make([]uint16, len(b)+1)
	}
	for i, word := range slices.Backward(a) {
		for j, other := range slices.Backward(b) {
			if word == other {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var runs []run
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			runs = extend(runs, EditSame, a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			runs = extend(runs, EditRemoved, a[i])
			i++
		default:
			runs = extend(runs, EditAdded, b[j])
			j++
		}
	}
	return shorten(runs)
}

// diffWords splits a text, and cuts one that is too long to be compared.
func diffWords(text string) []string {
	words := strings.Fields(text)
	if len(words) > maxDiffWords {
		words = append(words[:maxDiffWords:maxDiffWords], ellipsis)
	}
	return words
}

// run is consecutive words of one kind.
type run struct {
	kind  EditKind
	words []string
}

// extend adds a word to the runs. Between two words that stayed, all that went stands before all that came.
func extend(runs []run, kind EditKind, word string) []run {
	for i, r := range slices.Backward(runs) {
		if r.kind == kind {
			runs[i].words = append(runs[i].words, word)
			return runs
		}
		if r.kind == EditSame || kind == EditSame {
			break
		}
	}
	runs = append(runs, run{kind, []string{word}})
	if n := len(runs); n > 1 && kind == EditRemoved && runs[n-2].kind == EditAdded {
		runs[n-2], runs[n-1] = runs[n-1], runs[n-2]
	}
	return runs
}

// shorten leaves out words that stayed and stand far from a change.
func shorten(runs []run) []Edit {
	if len(runs) == 0 || len(runs) == 1 && runs[0].kind == EditSame {
		return nil
	}
	edits := make([]Edit, len(runs))
	for i, r := range runs {
		words := r.words
		head, tail := diffContext, diffContext
		if i == 0 {
			head = 0
		}
		if i == len(runs)-1 {
			tail = 0
		}
		if r.kind == EditSame && len(words) > head+tail+1 {
			words = slices.Concat(words[:head], []string{ellipsis}, words[len(words)-tail:])
		}
		edits[i] = Edit{r.kind, strings.Join(words, " ")}
	}
	return edits
}

// MemberEdit is a member in which two JSON answers differ. Before or After is nil where the answer lacks it.
type MemberEdit struct {
	Name          string
	Before, After json.RawMessage
}

// DiffMembers tells in which members two answers differ; ok is false unless both are JSON objects.
func DiffMembers(before, after string) (edits []MemberEdit, ok bool) {
	if !isObject(before) || !isObject(after) {
		return nil, false
	}
	current := maps.Collect(jobs.ObjectMembers([]byte(after)))
	for name, value := range jobs.ObjectMembers([]byte(before)) {
		if now, kept := current[name]; !kept || !bytes.Equal(compact(now), compact(value)) {
			edits = append(edits, MemberEdit{name, value, now})
		}
		delete(current, name)
	}
	for name := range jobs.ObjectMembers([]byte(after)) {
		if value, came := current[name]; came {
			edits = append(edits, MemberEdit{name, nil, value})
		}
	}
	return edits, true
}

func isObject(text string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), "{") && json.Valid([]byte(text))
}

// compact takes the white space out of a valid JSON text.
func compact(text json.RawMessage) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return text
	}
	return b.Bytes()
}
