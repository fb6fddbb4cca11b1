package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The faults that are not just an error status.
const (
	faultReset    = "reset"    // the connection breaks without an answer
	faultCut      = "cut"      // the answer breaks off in its middle
	faultEmpty    = "empty"    // status 200 without a body
	faultHTML     = "html"     // status 200 with a page of HTML
	faultError200 = "error200" // status 200 with an error in the body; an error event in a stream
)

var faultKinds = []string{faultReset, faultCut, faultEmpty, faultHTML, faultError200}

// Fault is one kind of failure and the share of calls that it hits.
type Fault struct {
	// Kind is an HTTP status from 400 to 599, or reset, cut, empty, html or error200.
	Kind  string
	Share Share
}

// Faults is a mix of failures, of which a call meets at most one. It is written as "529=1%,reset=0.1%", and is a flag value.
type Faults []Fault

// Set reads a mix and replaces the one before.
func (f *Faults) Set(text string) error {
	var faults Faults
	var sum Share
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		kind, value, found := strings.Cut(entry, "=")
		if !found {
			return fmt.Errorf("%q is not KIND=SHARE: write 529=1%%", entry)
		}
		kind = strings.TrimSpace(kind)
		if status, err := strconv.Atoi(kind); (err != nil || status < 400 || status > 599) && !slices.Contains(faultKinds, kind) {
			return fmt.Errorf("%q is no kind of fault: use a status from 400 to 599, or %s", kind, strings.Join(faultKinds, ", "))
		}
		var share Share
		if err := share.Set(value); err != nil {
			return fmt.Errorf("read share of %s: %w", kind, err)
		}
		sum += share
		faults = append(faults, Fault{kind, share})
	}
	if sum > 1 {
		return errors.New("the shares add up to more than 100%")
	}
	*f = faults
	return nil
}

// String writes the mix as Set reads it.
func (f *Faults) String() string {
	entries := make([]string, len(*f))
	for i, fault := range *f {
		entries[i] = fault.Kind + "=" + fault.Share.String()
	}
	return strings.Join(entries, ",")
}

// Type names the value in a flag's help.
func (*Faults) Type() string { return "faults" }

// pick draws the fault that a call meets; empty means none.
func (f *Faults) pick(d *draw) string {
	if len(*f) == 0 {
		return ""
	}
	u := d.unit()
	for _, fault := range *f {
		if u < float64(fault.Share) {
			return fault.Kind
		}
		u -= float64(fault.Share)
	}
	return ""
}

// early reports whether the service sees this fault before it works on the request, so that it costs no latency.
func early(kind string) bool {
	return kind == "503" || kind == "529" || strings.HasPrefix(kind, "4")
}
