package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/jobs"
)

// formatCount writes a number with its thousands set apart.
func formatCount(n int64) string {
	if n < 0 {
		return "-" + formatCount(-n)
	}
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// formatNumber writes a number of things, whose name takes an s when there are several.
func formatNumber(n int64, name string) string {
	if n == 1 {
		return "1 " + name
	}
	return formatCount(n) + " " + name + "s"
}

// formatTokens writes a number of tokens in three digits or so.
func formatTokens(n int64) string {
	switch {
	case n < 10_000:
		return formatCount(n)
	case n < 1_000_000:
		return fmt.Sprintf("%dk", n/1000)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.2fM", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.2fG", float64(n)/1e9)
	}
}

// formatDollars writes money for people: to the cent, and small sums to the first digits that say something.
func formatDollars(n jobs.Nanodollars) string {
	const cent, dollar = 1e7, 1e9
	switch {
	case n == 0:
		return "$0.00"
	case n < 1e5:
		return "under $0.0001"
	case n < cent:
		return fmt.Sprintf("$%.4f", float64(n)/dollar)
	default:
		cents := (int64(n) + cent/2) / cent
		return fmt.Sprintf("$%s.%02d", formatCount(cents/100), cents%100)
	}
}

// formatDecimal writes money exactly, in dollars.
func formatDecimal(n jobs.Nanodollars) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	text := fmt.Sprintf("%s%d.%09d", sign, n/1e9, n%1e9)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// formatRate writes records a second, or a minute or an hour where that is less than one.
func formatRate(perSecond float64) string {
	switch {
	case perSecond <= 0:
		return "0/s"
	case perSecond >= 100:
		return formatCount(int64(perSecond+0.5)) + "/s"
	case perSecond >= 1:
		return fmt.Sprintf("%.1f/s", perSecond)
	case perSecond*60 >= 1:
		return fmt.Sprintf("%.1f/min", perSecond*60)
	default:
		return fmt.Sprintf("%.1f/h", perSecond*3600)
	}
}

// formatTime writes a duration in its two largest units.
func formatTime(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	s := int64(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86_400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86_400, s/3600%24)
	}
}
