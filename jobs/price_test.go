package jobs

import (
	"math"
	"math/big"
	"os"
	"strings"
	"testing"
)

func TestPriceOf(t *testing.T) {
	t.Parallel()
	haiku := Rates{Input: 1000, Output: 5000, Write5m: 1250, Write1h: 2000, Read: 100}
	opus5 := Rates{Input: 5000, Output: 25000, Write5m: 6250, Write1h: 10000, Read: 500}
	opus55 := Rates{Input: 4000, Output: 20000, Write5m: 5000, Write1h: 8000, Read: 200}
	tests := []struct {
		model string
		want  Rates
		ok    bool
	}{
		{"claude-haiku-4-5", haiku, true},
		{"claude-haiku-4-5-20251001", haiku, true},
		{"claude-haiku-4-5@20251001", haiku, true},
		{"claude-opus-5", opus5, true},
		{"claude-opus-5-5", opus55, true},
		{"claude-opus-5-5-20260922", opus55, true},
		{"claude-opus-5-20260922", opus5, true},
		{"claude-opus-5-6", Rates{}, false},
		{"claude-opus-4", Rates{}, false},
		{"claude-haiku-4-5-fast", Rates{}, false},
		{"anthropic/claude-opus-5", Rates{}, false},
		{"", Rates{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.model, func(t *testing.T) {
			t.Parallel()
			price, ok := PriceOf(tt.model)
			if ok != tt.ok || price.Base != tt.want {
				t.Errorf("got %+v, %v", price.Base, ok)
			}
		})
	}
	if PricesDate() != "2026-11-22" {
		t.Errorf("date %q", PricesDate())
	}
}

// The list is whole: every model has every price, writes cost more than input and reads no more.
func TestPriceListIsSane(t *testing.T) {
	t.Parallel()
	models := prices().models
	if len(models) != 18 {
		t.Errorf("%d models", len(models))
	}
	for model, price := range models {
		rates := []Rates{price.Base}
		if price.Step > 0 {
			rates = append(rates, price.Above)
		}
		if price.fast != nil {
			rates = append(rates, *price.fast)
		}
		for _, r := range rates {
			if r.Input <= 0 || r.Output != 5*r.Input || 4*r.Write5m != 5*r.Input || r.Write1h != 2*r.Input || r.Read <= 0 || r.Read > r.Input {
				t.Errorf("%s: %+v", model, r)
			}
		}
	}
}

func TestPriceCost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, model, speed string
		usage              Usage
		us                 bool
		want               Nanodollars
	}{
		{name: "each kind at its rate", model: "claude-haiku-4-5", usage: Usage{1, 10, 100, 1000, 10000}, want: 1000 + 50_000 + 10_000 + 1_250_000 + 20_000_000},
		{name: "a million each way", model: "claude-sonnet-5", usage: Usage{Input: 1e6, Output: 1e6}, want: 12e9},
		{name: "nothing", model: "claude-sonnet-5", want: 0},
		{name: "at the step", model: "claude-haiku-5-5", usage: Usage{Input: 50_000, CacheRead: 30_000, CacheWrite5m: 10_000, CacheWrite1h: 10_000, Output: 1}, want: 5_000_000 + 300_000 + 1_250_000 + 2_000_000 + 500},
		{name: "over the step, all of it", model: "claude-haiku-5-5", usage: Usage{Input: 50_001, CacheRead: 30_000, CacheWrite5m: 10_000, CacheWrite1h: 10_000, Output: 1}, want: 25_000_500 + 1_500_000 + 6_250_000 + 10_000_000 + 2500},
		{name: "output does not count to the step", model: "claude-haiku-5-5", usage: Usage{Input: 1, Output: 128_000}, want: 100 + 64_000_000},
		{name: "in the United States", model: "claude-haiku-5-5", usage: Usage{Input: 1}, us: true, want: 110},
		{name: "in the United States, rounded up", model: "claude-haiku-5-5", usage: Usage{CacheWrite5m: 1}, us: true, want: 138},
		{name: "fast", model: "claude-opus-5-5", speed: "fast", usage: Usage{Input: 1, Output: 1, CacheRead: 1}, want: 8000 + 40_000 + 400},
		{name: "fast where it is not sold", model: "claude-opus-4-7", speed: "fast", usage: Usage{Input: 1}, want: 5000},
		{name: "standard", model: "claude-opus-5-5", speed: "standard", usage: Usage{Input: 1}, want: 4000},
		{name: "absurd count", model: "claude-opus-5", usage: Usage{Input: math.MaxInt64}, want: math.MaxInt64},
		{name: "count whose product loses its upper half", model: "claude-opus-5", usage: Usage{Input: 1 << 62}, want: math.MaxInt64},
		{name: "absurd sum", model: "claude-opus-5", usage: Usage{Input: 4e14, Output: 1e14, CacheRead: 1e15}, us: true, want: math.MaxInt64},
		{name: "negative count", model: "claude-opus-5", usage: Usage{Input: -5, Output: 1}, want: 25_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			price, ok := PriceOf(tt.model)
			if !ok {
				t.Fatal("no price")
			}
			if got := price.At(tt.speed).Cost(tt.usage, tt.us); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestReadPricesFaults(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]string{
		"fraction of a nanodollar": "models: {m: {input: 0.0001, output: 1, write_5m: 1, write_1h: 1, read: 1}}",
		"missing price":            "models: {m: {input: 1, output: 1, write_5m: 1, write_1h: 1}}",
		"missing fast price":       "models: {m: {input: 1, output: 1, write_5m: 1, write_1h: 1, read: 1, fast: {input: 1}}}",
		"missing price above":      "models: {m: {input: 1, output: 1, write_5m: 1, write_1h: 1, read: 1, above: {tokens: 1}}}",
		"unknown key":              "models: {m: {inputs: 1}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if list, err := readPrices([]byte(list)); err == nil {
				t.Errorf("read as %+v", list)
			}
		})
	}
}

func TestNanodollars(t *testing.T) {
	t.Parallel()
	tests := []struct {
		amount           Nanodollars
		people, accounts string
	}{
		{0, "$0.0000", "0.000000000"},
		{1_234_500_000, "$1.2345", "1.234500000"},
		{1_234_549_999, "$1.2345", "1.234549999"},
		{1_234_550_000, "$1.2346", "1.234550000"},
		{25_000_000_000, "$25.0000", "25.000000000"},
		{125_000, "$0.000125", "0.000125000"},
		{9_999_999, "$0.009999999", "0.009999999"},
		{1, "$0.000000001", "0.000000001"},
		{400_000, "$0.0004", "0.000400000"},
		{999_999_999, "$1.0000", "0.999999999"},
		{-1_500_000_000, "-$1.5000", "-1.500000000"},
		{math.MaxInt64, "$9223372036.8548", "9223372036.854775807"},
		{math.MinInt64, "-$9223372036.8548", "-9223372036.854775808"},
	}
	for _, tt := range tests {
		if got := tt.amount.String(); got != tt.people {
			t.Errorf("%d: String %s, want %s", int64(tt.amount), got, tt.people)
		}
		if got := tt.amount.Decimal(); got != tt.accounts {
			t.Errorf("%d: Decimal %s, want %s", int64(tt.amount), got, tt.accounts)
		}
	}
}

func TestParseDollars(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want Nanodollars
		ok   bool
	}{
		{"25", 25e9, true},
		{"0.50", 5e8, true},
		{" $1.25 ", 1_250_000_000, true},
		{"0.000000001", 1, true},
		{"0.1000000000000", 1e8, true},
		{"9223372036.854775807", math.MaxInt64, true},
		{"9223372036.854775808", 0, false},
		{"0.0000000001", 0, false},
		{"-1", 0, false},
		{"1e3", 0, false},
		{".5", 0, false},
		{"1.", 0, false},
		{"", 0, false},
		{"1,000", 0, false},
	}
	for _, tt := range tests {
		got, err := ParseDollars(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %d, %v", tt.text, got, err)
		}
	}
}

// What is read is exact, and is read again from what it prints.
func FuzzParseDollars(f *testing.F) {
	for _, seed := range []string{"25", "$0.000000001", "9223372036.854775807", "1.", "-1", "0.10"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		amount, err := ParseDollars(text)
		if err != nil {
			return
		}
		exact, ok := new(big.Rat).SetString(strings.TrimPrefix(strings.TrimSpace(text), "$"))
		if !ok || exact.Cmp(big.NewRat(int64(amount), 1e9)) != 0 {
			t.Fatalf("%q is read as %d", text, int64(amount))
		}
		if again, err := ParseDollars(amount.Decimal()); err != nil || again != amount {
			t.Fatalf("%s is read again as %d, %v", amount.Decimal(), int64(again), err)
		}
	})
}

func ExamplePriceOf() {
	price, ok := PriceOf("claude-haiku-4-5-20251001")
	if !ok {
		panic("no price")
	}
	os.Stdout.WriteString(price.Cost(Usage{Input: 1_000_000, Output: 46_900}, false).String())
	// Output: $1.2345
}
