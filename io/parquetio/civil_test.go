package parquetio

import (
	"math"
	"testing"
	"time"
)

// TestDatesAgreeWithTheStandardLibrary goes through four centuries day by day, and far beyond them in steps.
func TestDatesAgreeWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	check := func(days int64) {
		t.Helper()
		want := time.Unix(days*secondsOfDay, 0).UTC().Format(time.DateOnly)
		text := appendDate(nil, days)
		if got := string(text); got != want {
			t.Fatalf("day %d is %s, want %s", days, got, want)
		}
		if back, ok := parseDate(text); !ok || int64(back) != days {
			t.Fatalf("%s is day %d (%v), want %d", text, back, ok, days)
		}
	}
	for days := int64(-daysOfEra); days <= daysOfEra; days++ {
		check(days)
	}
	for days := int64(-719_528); days < 2_932_897; days += 997 {
		check(days)
	}
}

// FuzzMoments holds that every stored date and timestamp reads back as itself.
func FuzzMoments(f *testing.F) {
	for _, n := range []int64{0, -1, math.MinInt64, math.MaxInt64, 1_700_000_000_123, -62_135_596_800_000} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		days := int32(n)
		if got, ok := parseDate(appendDate(nil, int64(days))); !ok || got != days {
			t.Errorf("day %d reads back as %d (%v)", days, got, ok)
		}
		for _, digits := range []int{3, 6, 9} {
			text := appendTimestamp(nil, n, digits)
			if got, ok := parseTimestamp(text, digits, false); !ok || got != n {
				t.Errorf("%d (%d digits) is %s, which reads back as %d (%v)", n, digits, text, got, ok)
			}
		}
	})
}

// FuzzDecimals holds that every number that fits a decimal has the same value and as many digits as its scale.
func FuzzDecimals(f *testing.F) {
	for _, text := range []string{"0", "-12.340", "1e5", "-1.50E-3", "00.10", ".5", "1.", "-", "999999999999999999", "1e-18"} {
		f.Add(text, uint8(18), uint8(9))
	}
	f.Fuzz(func(t *testing.T, text string, precision, scale uint8) {
		p := int(precision)%maxDigitsInt64 + 1
		s := int(scale) % (p + 1)
		whole, exact := parseScaled([]byte(text), s)
		fits := exact && whole.CmpAbs(powersOfTen[p]) < 0
		n, ok := parseUnscaled([]byte(text), p, s)
		if ok != fits || ok && n != whole.Int64() {
			t.Errorf("%q as decimal(%d,%d): %d (%v), the slow way %v (%v)", text, p, s, n, ok, whole, fits)
		}
	})
}
