package jobs

import (
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds on values; those that no use comes near catch a slip of the keyboard before it costs anything.
const (
	maxName        = 100 // bytes; with what else goes into file names below the 255 that file systems allow
	maxConcurrency = 100_000
	maxCount       = math.MaxInt64
)

// Bounds on a run's weight beside other runs (limits.weight).
const (
	MinWeight = 0.001
	MaxWeight = 1000.0
)

var (
	folderName = regexp.MustCompile(`^[\pL\pN][\pL\pN._-]*$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	apiVersion = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	betaName   = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	wholeText  = regexp.MustCompile(`^-?[0-9]+$`)
	percent    = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?%$`)
	dollars    = regexp.MustCompile(`^([0-9]+)(?:\.([0-9]+))?$`)

	outputEndings = []string{".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"}
	urlSchemes    = []string{"s3", "gs", "azblob"}
)

// quoted shows a value in an error, cut when it is long.
func quoted(s string) string {
	if chars := []rune(s); len(chars) > 60 {
		s = string(chars[:60]) + "…"
	}
	return strconv.Quote(s)
}

// describe says in an error what a value is.
func (n *node) describe() string {
	switch n.kind {
	case listNode:
		return "a list"
	case mapNode:
		return "a map"
	case stringNode:
		return "the text " + quoted(n.text)
	case nullNode:
		return "nothing"
	default:
		return n.text
	}
}

// text reads a string; "" when there is none.
func (d *decoder) text(n *node, key string) string {
	switch {
	case !n.given() || n.kind == brokenNode:
		return ""
	case n.kind == stringNode:
		return n.text
	case n.kind == boolNode || n.kind == numberNode:
		d.add(n.at, "%s must be a text; put it in quotes: %q", key, n.text)
	default:
		d.add(n.at, "%s must be a text, not %s", key, n.describe())
	}
	return ""
}

// texts reads a string or a list of strings; never nil when something was given. A string becomes a list of one in
// the tree too, so that each text has its element.
func (d *decoder) texts(n *node, key string) []string {
	switch {
	case !n.given():
		return nil
	case n.kind != listNode:
		n.elements = []*node{{kind: n.kind, text: n.text, at: n.at}}
	}
	list := []string{}
	for _, e := range n.elements {
		if e.kind == nullNode {
			d.add(e.at, "%s has an empty element", key)
		}
		list = append(list, d.text(e, key))
	}
	return list
}

// flag reads true or false; false when there is neither.
func (d *decoder) flag(n *node, key string) bool {
	switch {
	case !n.given() || n.kind == brokenNode:
		return false
	case n.kind != boolNode:
		d.add(n.at, "%s must be true or false, not %s", key, n.describe())
		return false
	}
	return strings.EqualFold(n.text, "true")
}

// count reads a whole number from least to most; 0 when there is none.
func (d *decoder) count(n *node, key string, least, most int64) int64 {
	if !n.given() || n.kind == brokenNode {
		return 0
	}
	text, ok := jsonNumber(n.text)
	if n.kind != numberNode || !ok || !wholeText.MatchString(text) {
		d.add(n.at, "%s must be a whole number such as 200 or 2_000_000, not %s", key, n.describe())
		return 0
	}
	value, err := strconv.ParseInt(text, 10, 64)
	switch {
	case strings.HasPrefix(text, "-") || err == nil && value < least:
		d.add(n.at, "%s must be at least %d, not %s", key, least, n.describe())
	case err != nil || value > most:
		d.add(n.at, "%s must be at most %d, not %s", key, most, n.describe())
	default:
		return value
	}
	return 0
}

// share reads "20%" as 0.2. A share without the sign would be taken for one a hundred times smaller or larger.
func share(n *node) (float64, bool) {
	if n.kind != stringNode || !percent.MatchString(n.text) {
		return 0, false
	}
	value, err := strconv.ParseFloat(strings.TrimSuffix(n.text, "%")+"e-2", 64)
	return value, err == nil
}

// headroom reads a share, or shares by windows of the week.
func (d *decoder) headroom(n *node) Headroom {
	const key = "limits.headroom"
	switch {
	case n.given() && n.kind == listNode:
		d.add(n.at, "%s must be a share of the limits such as 20%%, or shares by windows such as {default: 10%%, %s: 60%%}, not a list", key, windowExample)
		return Headroom{}
	case !n.given() || n.kind != mapNode:
		return Headroom{Default: d.headroomShare(n, key)}
	}
	var h Headroom
	for _, m := range n.members {
		if m.key == "default" {
			h.Default = d.headroomShare(m.value, key+".default")
			continue
		}
		if !strings.Contains(m.key, ":") && nearest(m.key, []string{"default"}) != "" {
			d.add(m.at, "%s: unknown key %s; did you mean default?", key, quoted(m.key))
			continue
		}
		window, err := parseWindow(m.key)
		if err != nil {
			d.add(m.at, "%s %s: %s", key, quoted(m.key), err)
			continue
		}
		if !m.value.given() {
			d.add(m.value.at, "%s %s has no share; write one such as 20%%", key, quoted(m.key))
			continue
		}
		h.Windows = append(h.Windows, HeadroomWindow{When: window, Share: d.headroomShare(m.value, key+" "+quoted(m.key))})
	}
	if len(h.Windows) > maxHeadroomWindows {
		d.add(n.at, "%s has %d windows and may have %d; put days with the same hours into one, such as Mon,Wed-Fri", key, len(h.Windows), maxHeadroomWindows)
	}
	return h
}

// headroomShare reads a share that leaves something of the limits.
func (d *decoder) headroomShare(n *node, key string) float64 {
	if !n.given() || n.kind == brokenNode {
		return 0
	}
	value, ok := share(n)
	switch {
	case n.kind == numberNode && n.text == "0":
		return 0
	case !ok:
		d.add(n.at, "%s must be a share of the limits such as 20%%, not %s", key, n.describe())
	case value >= 1:
		d.add(n.at, "%s must be under 100%%, or no call could start; it is %s", key, n.text)
	default:
		return value
	}
	return 0
}

// weight reads a run's share beside other runs; 0 when there is none.
func (d *decoder) weight(n *node) float64 {
	if !n.given() || n.kind == brokenNode {
		return 0
	}
	text, ok := jsonNumber(n.text)
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case n.kind != numberNode || !ok || err != nil:
		d.add(n.at, "limits.weight must be a number such as 2 or 0.5, not %s", n.describe())
	case value < MinWeight || value > MaxWeight:
		d.add(n.at, "limits.weight must be from %g to %g; other runs have 1 unless they say otherwise; it is %s",
			MinWeight, MaxWeight, n.text)
	default:
		return value
	}
	return 0
}

// tolerance reads a count of records or a share of them.
func (d *decoder) tolerance(n *node) Tolerance {
	if !n.given() || n.kind == brokenNode {
		return Tolerance{}
	}
	if value, ok := share(n); ok {
		if value > 1 {
			d.add(n.at, "limits.max_failed must be at most 100%%; it is %s", n.text)
			return Tolerance{}
		}
		return Tolerance{Share: value}
	}
	text, ok := jsonNumber(n.text)
	if n.kind != numberNode || !ok || !wholeText.MatchString(text) {
		d.add(n.at, "limits.max_failed must be a number of records such as 10, or a share of them such as 0.1%%, not %s", n.describe())
		return Tolerance{}
	}
	return Tolerance{Count: d.count(n, "limits.max_failed", 0, maxCount)}
}

// budget reads US dollars, exactly.
func (d *decoder) budget(n *node) Nanodollars {
	if !n.given() || n.kind == brokenNode {
		return 0
	}
	text, _ := jsonNumber(n.text)
	digits := dollars.FindStringSubmatch(text)
	switch {
	case n.kind == numberNode && strings.HasPrefix(text, "-"):
		d.add(n.at, "limits.budget_usd must be more than 0, not %s", n.text)
		return 0
	case n.kind != numberNode || digits == nil:
		d.add(n.at, "limits.budget_usd must be dollars such as 25 or 0.50, not %s", n.describe())
		return 0
	}
	fraction := strings.TrimRight(digits[2], "0")
	if len(fraction) > 9 {
		d.add(n.at, "limits.budget_usd has more than 9 digits after the point: %s", n.text)
		return 0
	}
	nano, err := strconv.ParseInt(digits[1]+fraction+strings.Repeat("0", 9-len(fraction)), 10, 64)
	switch {
	case err != nil:
		d.add(n.at, "limits.budget_usd must be at most %d, not %s", int64(math.MaxInt64)/1e9, n.text)
	case nano == 0:
		d.add(n.at, "limits.budget_usd must be more than 0; leave it out for no bound")
	}
	return Nanodollars(nano)
}

// duration reads "90s", "10m", "1h30m"; 0 when there is none.
func (d *decoder) duration(n *node, key string) time.Duration {
	if !n.given() || n.kind == brokenNode {
		return 0
	}
	value, err := time.ParseDuration(n.text)
	switch {
	case n.kind != stringNode || err != nil:
		d.add(n.at, "%s must be a time such as 90s, 10m or 1h30m, not %s", key, n.describe())
	case value <= 0:
		d.add(n.at, "%s must be more than 0, not %s", key, n.text)
	default:
		return value
	}
	return 0
}

func (d *decoder) checkScheme(at place, key, path string) {
	scheme, _, ok := strings.Cut(path, "://")
	if ok && !slices.Contains(urlSchemes, scheme) {
		d.add(at, "%s %s: a URL must start with s3://, gs:// or azblob://; a local path has no scheme", key, quoted(path))
	}
}

// state reads the URL of a store; "" when there is none. Which stores there are is for others to know.
func (d *decoder) state(n *node) string {
	text := d.text(n, "state")
	if text == "" {
		return ""
	}
	address, err := url.Parse(text)
	switch {
	case !isURL(text) || err != nil:
		d.add(n.at, "state must be the URL of a store, such as file:///mnt/shared/state; a folder of this machine is named by --state")
	case address.User != nil:
		d.add(n.at, "state must hold no user or password")
	default:
		return text
	}
	return ""
}

func (d *decoder) checkOutputEnding(at place, path string) {
	if isURL(path) {
		path, _, _ = strings.Cut(path, "?") // the store's options
	}
	if path == "" {
		d.add(at, "output is empty; name a file such as out/answers.jsonl")
		return
	}
	for _, ending := range append([]string{"/"}, outputEndings...) {
		if strings.HasSuffix(path, ending) {
			return
		}
	}
	d.add(at, "output %s must end in %s, or in / for a folder", quoted(path), strings.Join(outputEndings, ", "))
}

// baseURL reads the address below which /v1/messages lies; "" when there is none.
func (d *decoder) baseURL(n *node) string {
	text := d.text(n, "api.base_url")
	if text == "" {
		return ""
	}
	address, err := url.Parse(text)
	switch {
	case err != nil || address.Scheme != "https" && address.Scheme != "http" || address.Host == "":
		d.add(n.at, "api.base_url must be an address such as https://api.anthropic.com") // not shown: it may hold a password
	case address.User != nil:
		d.add(n.at, "api.base_url must hold no user or password; name the variable of the credential in api.key_env")
	case address.RawQuery != "" || address.Fragment != "":
		d.add(n.at, "api.base_url must end with its path: no ? and no #")
	default:
		text = strings.TrimRight(text, "/")
		text = strings.TrimSuffix(text, "/messages")
		return strings.TrimRight(strings.TrimSuffix(text, "/v1"), "/")
	}
	return ""
}

func (d *decoder) keyEnv(n *node) string {
	name := d.text(n, "api.key_env")
	if name != "" && !envName.MatchString(name) {
		// The value is not shown: what looks unlike a name is most likely the credential itself.
		d.add(n.at, "api.key_env must be the name of an environment variable, such as ANTHROPIC_API_KEY, never the credential itself")
	}
	return name
}

func (d *decoder) beta(n *node) []string {
	list := d.texts(n, "api.beta")
	for i, name := range list {
		if element := n.elements[i]; element.kind == stringNode && !betaName.MatchString(name) {
			d.add(element.at, "api.beta %s is no name of a beta; write a list of names with letters, digits, . _ and -", quoted(name))
		}
	}
	return list
}
