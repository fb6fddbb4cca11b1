package jobs

import (
	_ "embed"
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed prices.yaml
var pricesYAML []byte

// Rates are prices in nanodollars for one token; every list price is a whole number of them.
type Rates struct {
	Input, Output, Write5m, Write1h, Read int64
}

// Price is what a model's tokens cost.
type Price struct {
	// Base are the rates of a prompt of at most Step tokens, or of any when Step is 0.
	Base Rates
	// Step is the size of a prompt (input, cache writes and cache reads) over which Above holds for all its tokens.
	Step  int64
	Above Rates
	// fast are the rates at speed fast; nil when the model has none.
	fast *Rates
}

// PriceOf returns the price of a model; ok is false for models without a list price. An id with a date is the same
// model as the id without ("claude-haiku-4-5-20251001"); no other ending is, for claude-opus-5-5 is not claude-opus-5.
func PriceOf(model string) (price Price, ok bool) {
	list := prices().models
	if price, ok = list[model]; !ok {
		price, ok = list[modelDate.ReplaceAllString(model, "")]
	}
	return price, ok
}

// PricesDate is the day ("2026-11-22") of the price list.
func PricesDate() string { return prices().asOf }

// modelDate is the date at the end of a model id.
var modelDate = regexp.MustCompile(`[-@]20\d{6}$`)

// At is the price at a speed (Messages API, request field speed): "fast", or anything else for the usual one.
func (p Price) At(speed string) Price {
	if speed != "fast" || p.fast == nil {
		return p
	}
	return Price{Base: *p.fast}
}

// Cost is what an answer costs. geoUS says that it was made in the United States on request (inference_geo: us), which
// costs a tenth more; a fraction of a nanodollar counts as a whole one. It is as large as can be rather than wrong when
// the counts are absurd.
func (p Price) Cost(u Usage, geoUS bool) Nanodollars {
	rates := p.Base
	if prompt := u.Input + u.CacheWrite() + u.CacheRead; p.Step > 0 && prompt > p.Step {
		rates = p.Above
	}
	sum := uint64(0)
	for _, part := range [...][2]int64{
		{u.Input, rates.Input},
		{u.Output, rates.Output},
		{u.CacheRead, rates.Read},
		{u.CacheWrite5m, rates.Write5m},
		{u.CacheWrite1h, rates.Write1h},
	} {
		high, low := bits.Mul64(uint64(max(0, part[0])), uint64(part[1])) //nolint:gosec // neither is negative
		if high > 0 || low > math.MaxInt64/4 {
			return math.MaxInt64
		}
		sum += low
		if sum > math.MaxInt64/4 {
			return math.MaxInt64
		}
	}
	if geoUS {
		sum += (sum + 9) / 10
	}
	return Nanodollars(sum)
}

// String shows an amount for people, "$1.2346": to four places, and exactly where that would hide it ("$0.000125").
func (n Nanodollars) String() string {
	const four = 100_000
	sign, amount := "", n.magnitude()
	if n < 0 {
		sign = "-"
	}
	if amount >= 10_000_000 || amount%four == 0 {
		rounded := (amount + four/2) / four
		return fmt.Sprintf("%s$%d.%04d", sign, rounded/10_000, rounded%10_000)
	}
	return fmt.Sprintf("%s$%s", sign, strings.TrimRight(fmt.Sprintf("0.%09d", amount), "0"))
}

// Decimal is the exact amount in dollars with nine places, "1.234567890".
func (n Nanodollars) Decimal() string {
	sign, amount := "", n.magnitude()
	if n < 0 {
		sign = "-"
	}
	return fmt.Sprintf("%s%d.%09d", sign, amount/1e9, amount%1e9)
}

func (n Nanodollars) magnitude() uint64 {
	if n < 0 {
		return -uint64(n) //nolint:gosec // two's complement, right for the smallest amount too
	}
	return uint64(n)
}

// dollarAmount is what ParseDollars reads.
var dollarAmount = regexp.MustCompile(`^\$?(\d+)(?:\.(\d+))?$`)

// ParseDollars reads an amount of US dollars exactly: "25", "0.50", "$1.25". At most nine places and nine billion
// dollars; never less than nothing.
func ParseDollars(text string) (Nanodollars, error) {
	found := dollarAmount.FindStringSubmatch(strings.TrimSpace(text))
	if found == nil {
		return 0, fmt.Errorf("%q is not an amount of dollars: write 25 or 0.50", text)
	}
	fraction := strings.TrimRight(found[2], "0")
	const places = 9
	if len(fraction) > places {
		return 0, fmt.Errorf("%q is finer than a billionth of a dollar", text)
	}
	n, err := strconv.ParseInt(found[1]+fraction+strings.Repeat("0", places-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is more than nine billion dollars", text)
	}
	return Nanodollars(n), nil
}

// priceList is prices.yaml, read.
type priceList struct {
	asOf   string
	models map[string]Price
}

// listedRates are a line of prices.yaml, in dollars for a million tokens.
type listedRates struct {
	Tokens  int64        `yaml:"tokens"`
	Input   string       `yaml:"input"`
	Output  string       `yaml:"output"`
	Write5m string       `yaml:"write_5m"`
	Write1h string       `yaml:"write_1h"`
	Read    string       `yaml:"read"`
	Fast    *listedRates `yaml:"fast"`
	Above   *listedRates `yaml:"above"`
}

// prices reads the list once. The list is part of the program, so a fault in it is one of the program.
var prices = sync.OnceValue(func() priceList {
	list, err := readPrices(pricesYAML)
	if err != nil {
		panic("jobs: prices.yaml: " + err.Error())
	}
	return list
})

func readPrices(text []byte) (priceList, error) {
	var file struct {
		AsOf   string                 `yaml:"as_of"`
		Models map[string]listedRates `yaml:"models"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return priceList{}, fmt.Errorf("read prices: %w", err)
	}
	list := priceList{asOf: file.AsOf, models: map[string]Price{}}
	for model, listed := range file.Models {
		price, err := listed.price()
		if err != nil {
			return priceList{}, fmt.Errorf("read price of %s: %w", model, err)
		}
		list.models[model] = price
	}
	return list, nil
}

func (l listedRates) price() (Price, error) {
	var p Price
	var err error
	if p.Base, err = l.rates(); err != nil {
		return Price{}, err
	}
	if l.Above != nil {
		p.Step = l.Above.Tokens
		if p.Above, err = l.Above.rates(); err != nil {
			return Price{}, err
		}
	}
	if l.Fast != nil {
		rates, err := l.Fast.rates()
		if err != nil {
			return Price{}, err
		}
		p.fast = &rates
	}
	return p, nil
}

func (l listedRates) rates() (Rates, error) {
	var r Rates
	for _, field := range []struct {
		text string
		to   *int64
	}{
		{l.Input, &r.Input}, {l.Output, &r.Output}, {l.Write5m, &r.Write5m}, {l.Write1h, &r.Write1h}, {l.Read, &r.Read},
	} {
		million, err := ParseDollars(field.text)
		if err != nil {
			return Rates{}, err
		}
		const tokens = 1_000_000
		if million%tokens != 0 {
			return Rates{}, fmt.Errorf("%s is not a whole number of nanodollars a token", field.text)
		}
		*field.to = int64(million) / tokens
	}
	return r, nil
}
