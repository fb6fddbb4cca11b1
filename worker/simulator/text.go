package simulator

import "strings"

// The words of plain answers. They stand for no opinion and hold no character that JSON escapes.
var (
	subjects = []string{
		"The message", "This request", "The first paragraph", "The customer", "The second sentence", "The description",
		"The question", "The example", "The order", "The whole text", "The author", "The last remark",
	}
	verbs = []string{
		"mentions", "describes", "asks about", "explains", "leaves open", "compares", "confirms", "depends on", "points to", "repeats",
	}
	objects = []string{
		"a late delivery", "the price of the offer", "two similar cases", "the opening hours", "an earlier reply", "the missing part",
		"a change of address", "the main result", "the steps in between", "a simple rule", "the usual procedure", "one clear reason",
	}
	endings = []string{
		"in plain words", "without further detail", "before the end", "with some care", "at two places", "as one would expect", "once more", "in passing",
	}
	words = []string{
		"amber", "basket", "cedar", "delta", "ember", "fable", "garden", "harbor", "island", "jasper", "kettle", "lantern",
		"meadow", "nectar", "orchard", "pebble", "quartz", "river", "saddle", "timber", "umbra", "valley", "willow", "yonder",
	}
)

func oneOf(list []string, d *draw) string { return list[d.below(len(list))] }

func (d *draw) word() string { return oneOf(words, d) }

// appendPhrase appends two to five words.
func appendPhrase(dst []byte, d *draw) []byte {
	dst = append(dst, d.word()...)
	for range d.between(1, 4) {
		dst = append(dst, ' ')
		dst = append(dst, d.word()...)
	}
	return dst
}

// marker opens plain answers that have room for it, so that nobody takes one for a model's.
const (
	marker     = "Simulated answer."
	markedSize = 128
)

// plainText returns sentences of about this many tokens, and never more.
func plainText(tokens int, d *draw) string {
	size := tokens * bytesPerToken
	var b strings.Builder
	b.Grow(size)
	if size >= markedSize {
		b.WriteString(marker)
	}
	for {
		sentence := oneOf(subjects, d) + " " + oneOf(verbs, d) + " " + oneOf(objects, d) + " " + oneOf(endings, d) + "."
		if b.Len()+1+len(sentence) > size {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(sentence)
	}
	if b.Len() == 0 {
		// Too short for a sentence: a word, as an answer to a question for a label.
		word := d.word()
		return word[:min(len(word), size)]
	}
	return b.String()
}
