package simulator

import (
	"math"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	// Past these an instance takes the short way: no optional members, fewest elements, the branch that ends.
	tallInstance = 6
	wideInstance = 300
	// deepest ends a schema that requires itself and so has no finite instance.
	deepest = 40
	// mostValues ends one that requires itself more than once, and so doubles with each level.
	mostValues = 20_000
	// mostElements bounds what a schema can demand of an array, and mostCharacters of a string.
	mostElements   = 100
	mostCharacters = 4000
	// hintBytes is how much of a text's end is searched for labels.
	hintBytes = 4096
)

// instance makes a JSON value that fits a schema, as its draws fall.
type instance struct {
	draw draw
	// said is what the answer is about, as label writes it: a label that occurs in it is the likelier answer.
	said   string
	values int
}

// instanceOf appends an instance of the schema to dst.
func instanceOf(dst []byte, s *schema, said string, d draw) []byte {
	if len(said) > hintBytes {
		said = said[len(said)-hintBytes:]
	}
	in := &instance{draw: d, said: label(said)}
	return in.value(dst, s, 0)
}

func (in *instance) value(dst []byte, s *schema, depth int) []byte {
	in.values++
	brief := depth > tallInstance || in.values > wideInstance
	switch {
	case depth > deepest || in.values > mostValues:
		return append(dst, "null"...)
	case len(s.values) > 0:
		return append(dst, s.values[in.choose(s)].Raw...)
	case len(s.branches) > 0:
		return in.value(dst, in.branch(s, brief), depth+1)
	}
	switch s.kind(&in.draw) {
	case "object":
		return in.object(dst, s, depth, brief)
	case "array":
		return in.array(dst, s, depth, brief)
	case "integer":
		return in.number(dst, s, true)
	case "number":
		return in.number(dst, s, false)
	case "boolean":
		return strconv.AppendBool(dst, in.draw.below(2) == 1)
	case "null":
		return append(dst, "null"...)
	}
	return gjson.AppendJSONString(dst, in.text(s))
}

// choose picks one of the schema's values: mostly one that the text names, where it names some.
func (in *instance) choose(s *schema) int {
	picked := in.draw.below(len(s.values))
	if in.draw.below(4) == 0 {
		return picked
	}
	named := 0
	for i, label := range s.labels {
		if label == "" || !strings.Contains(in.said, label) {
			continue
		}
		// Each of the named has the same chance, without a list of them.
		if named++; in.draw.below(named) == 0 {
			picked = i
		}
	}
	return picked
}

func (in *instance) branch(s *schema, brief bool) *schema {
	picked := s.branches[in.draw.below(len(s.branches))]
	if !brief {
		return picked
	}
	for _, b := range s.branches {
		if len(b.values) > 0 || len(b.types) == 1 && b.types[0] != "object" && b.types[0] != "array" {
			return b
		}
	}
	return picked
}

func (in *instance) object(dst []byte, s *schema, depth int, brief bool) []byte {
	dst = append(dst, '{')
	first := true
	for i := range s.properties {
		p := &s.properties[i]
		if !p.required && (brief || in.draw.below(5) == 0) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, p.name...)
		dst = append(dst, ':')
		dst = in.value(dst, p.schema, depth+1)
	}
	return append(dst, '}')
}

func (in *instance) array(dst []byte, s *schema, depth int, brief bool) []byte {
	least, most := s.least, s.most
	if most < 0 {
		most = max(least, 3)
	}
	if s.most < 0 && least == 0 && !brief {
		least = 1
	}
	least = min(max(least, 0), mostElements)
	length := least
	if !brief {
		length = in.draw.between(least, max(least, min(most, least+3, mostElements)))
	}
	element := s.element
	if element == nil {
		element = newSchema()
	}
	dst = append(dst, '[')
	var seen map[string]bool
	if s.unique {
		seen = map[string]bool{}
	}
	for made, tries := 0, 0; made < length && tries < 100*length; tries++ {
		start := len(dst)
		if made > 0 {
			dst = append(dst, ',')
		}
		from := len(dst)
		dst = in.value(dst, element, depth+1)
		if seen != nil {
			if value := string(dst[from:]); seen[value] {
				dst = dst[:start]
				continue
			} else {
				seen[value] = true
			}
		}
		made++
	}
	return append(dst, ']')
}

// number appends a number within the schema's bounds, where there is one.
func (in *instance) number(dst []byte, s *schema, whole bool) []byte {
	const usual = 100
	low, high := s.minimum, s.maximum
	switch {
	case math.IsInf(low, 0) && math.IsInf(high, 0):
		low, high = 0, usual
	case math.IsInf(low, 0):
		low = min(0, high-usual)
	case math.IsInf(high, 0):
		high = low + usual
	}
	step := s.multipleOf
	if whole && step != math.Trunc(step) || whole && step == 0 {
		step = 1 // itself a multiple of 0.5, 0.1 and their like
	}
	if step > 0 {
		first, last := math.Ceil(low/step), math.Floor(high/step)
		if s.openBelow && first*step <= low {
			first++
		}
		if s.openAbove && last*step >= high {
			last--
		}
		v := (first + math.Floor(in.draw.unit()*max(last-first+1, 1))) * step
		if rounded := math.Round(v*1e10) / 1e10; !whole && !math.IsInf(rounded, 0) {
			v = rounded // ten digits hide what binary fractions add to a multiple of 0.1
		}
		return appendFinite(dst, v, low)
	}
	v := low + in.draw.unit()*(high-low)
	if rounded := math.Round(v*100) / 100; rounded >= low && rounded <= high {
		v = rounded
	}
	if s.openBelow && v <= low || s.openAbove && v >= high {
		v = low + (high-low)/2
	}
	return appendFinite(dst, v, low)
}

// appendFinite appends a number, or low where bounds near the end of float64 have made it infinite or none at all.
func appendFinite(dst []byte, v, low float64) []byte {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		v = low
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// text makes a string: of the format or pattern, else a few words of a length that the schema allows.
func (in *instance) text(s *schema) string {
	if s.pattern != nil {
		return string(in.match(nil, s.pattern))
	}
	if made := in.formatted(s.format); made != "" {
		return made
	}
	dst := appendPhrase(nil, &in.draw)
	for len(dst) < min(s.shortest, mostCharacters) {
		dst = append(dst, ' ')
		dst = appendPhrase(dst, &in.draw)
	}
	if s.longest >= 0 && len(dst) > s.longest {
		dst = dst[:s.longest]
		if n := len(dst); n > s.shortest && n > 0 && dst[n-1] == ' ' {
			dst = dst[:n-1]
		}
	}
	return string(dst)
}

func (in *instance) formatted(format string) string {
	d := &in.draw
	two := func(low, high int) string { return strconv.Itoa(100 + d.between(low, high))[1:] }
	date := func() string { return "202" + strconv.Itoa(d.below(7)) + "-" + two(1, 12) + "-" + two(1, 28) }
	clock := func() string { return two(0, 23) + ":" + two(0, 59) + ":" + two(0, 59) + "Z" }
	host := func() string { return d.word() + ".example.com" }
	hex := func(n int) string { return strconv.FormatUint(1<<63|d.next()>>1, 16)[16-n:] }
	switch format {
	case "date":
		return date()
	case "time":
		return clock()
	case "date-time":
		return date() + "T" + clock()
	case "duration":
		return "PT" + strconv.Itoa(d.between(1, 59)) + "M"
	case "email":
		return d.word() + "@" + host()
	case "hostname":
		return host()
	case "uri":
		return "https://" + host() + "/" + d.word()
	case "ipv4":
		return "192.0.2." + strconv.Itoa(d.between(1, 254))
	case "ipv6":
		return "2001:db8::" + strconv.FormatInt(int64(d.between(1, 65535)), 16)
	case "uuid":
		return hex(8) + "-" + hex(4) + "-4" + hex(3) + "-8" + hex(3) + "-" + hex(12)
	}
	return ""
}

// match appends a text that a regular expression matches; what it cannot make (word boundaries) it leaves out.
func (in *instance) match(dst []byte, re *syntax.Regexp) []byte {
	if len(dst) > mostCharacters {
		return dst
	}
	d := &in.draw
	repeat := func(least, most int) {
		for range d.between(least, most) {
			dst = in.match(dst, re.Sub[0])
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		return append(dst, string(re.Rune)...)
	case syntax.OpCharClass:
		return in.class(dst, re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return append(dst, d.word()[0])
	case syntax.OpCapture:
		return in.match(dst, re.Sub[0])
	case syntax.OpConcat:
		for _, part := range re.Sub {
			dst = in.match(dst, part)
		}
	case syntax.OpAlternate:
		return in.match(dst, re.Sub[d.below(len(re.Sub))])
	case syntax.OpStar:
		repeat(0, 3)
	case syntax.OpPlus:
		repeat(1, 4)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		most := re.Max
		if most < 0 {
			most = re.Min + 3
		}
		repeat(re.Min, most)
	default: // anchors and the like stand for no character
	}
	return dst
}

// class appends a character of a class given as pairs of bounds; a printable one of ASCII where the class has any.
func (in *instance) class(dst []byte, bounds []rune) []byte {
	if len(bounds) == 0 {
		return dst
	}
	count := 0
	var low, high rune
	for i := 0; i < len(bounds); i += 2 {
		if from, to := max(bounds[i], ' '), min(bounds[i+1], '~'); from <= to {
			if count++; in.draw.below(count) == 0 {
				low, high = from, to
			}
		}
	}
	if count == 0 {
		low, high = bounds[0], bounds[0]
	}
	return append(dst, string(low+rune(in.draw.unit()*float64(high-low+1)))...)
}
