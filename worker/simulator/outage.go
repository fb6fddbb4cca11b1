package simulator

import (
	"fmt"
	"strings"
	"time"
)

// Outage is a time in which no call succeeds.
type Outage struct {
	// After is when it begins, counted from the simulator's start, and For how long it lasts.
	After, For time.Duration
	// Kind is what calls meet, as in Fault.Kind; empty means 529.
	Kind string
}

// Outages is a list of them, written as "30s@2m" (for 30 s, two minutes after the start) or "30s@2m:503", separated by
// commas. It is a flag value.
type Outages []Outage

// Set reads a list and replaces the one before.
func (o *Outages) Set(text string) error {
	var outages Outages
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		window, kind, _ := strings.Cut(entry, ":")
		if kind == "" {
			kind = "529"
		}
		var check Faults
		if err := check.Set(kind + "=100%"); err != nil {
			return fmt.Errorf("read outage %q: %w", entry, err)
		}
		length, after, found := strings.Cut(window, "@")
		lasts, errFor := time.ParseDuration(length)
		begins, errAfter := time.ParseDuration(after)
		if !found || errFor != nil || errAfter != nil || lasts <= 0 || begins < 0 {
			return fmt.Errorf("%q is not LENGTH@START: write 30s@2m for 30 seconds, two minutes after the start", entry)
		}
		outages = append(outages, Outage{After: begins, For: lasts, Kind: kind})
	}
	*o = outages
	return nil
}

// String writes the list as Set reads it.
func (o *Outages) String() string {
	entries := make([]string, len(*o))
	for i, outage := range *o {
		entries[i] = outage.For.String() + "@" + outage.After.String() + ":" + outage.kind()
	}
	return strings.Join(entries, ",")
}

// Type names the value in a flag's help.
func (*Outages) Type() string { return "outages" }

// at returns what calls meet this long after the start; empty means no outage.
func (o *Outages) at(elapsed time.Duration) string {
	for _, outage := range *o {
		if elapsed >= outage.After && elapsed < outage.After+outage.For {
			return outage.kind()
		}
	}
	return ""
}

func (o Outage) kind() string {
	if o.Kind == "" {
		return "529"
	}
	return o.Kind
}
