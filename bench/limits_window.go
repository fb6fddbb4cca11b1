package main

import "time"

// sample is what a simulator had counted at a moment. Amounts only grow.
type sample struct {
	at time.Duration // since the first call
	// rate is the binding limit a second, in force from this sample to the next.
	rate float64
	// used is what this limit has let through, of everybody.
	used float64
	// calls and refused are those of the fleet alone.
	calls, refused float64
}

// window returns the samples from one moment to another; the next after its end is its last.
func window(samples []sample, from, to time.Duration) []sample {
	first := 0
	for first < len(samples) && samples[first].at < from {
		first++
	}
	last := first
	for last < len(samples)-1 && samples[last].at < to {
		last++
	}
	return samples[first:min(last+1, len(samples))]
}

// usedShare is what was let through ÷ what the limit would have refilled in this time, as it was at each moment. It is over 1 when
// more was used than that of what the bucket held at the beginning.
func usedShare(samples []sample) float64 {
	if len(samples) < 2 {
		return 0
	}
	refilled := 0.0
	for i, s := range samples[1:] {
		refilled += samples[i].rate * (s.at - samples[i].at).Seconds()
	}
	if refilled == 0 {
		return 0
	}
	return (samples[len(samples)-1].used - samples[0].used) / refilled
}

// refusedShare is the share of the fleet's calls that the limits refused.
func refusedShare(samples []sample) float64 {
	if len(samples) < 2 {
		return 0
	}
	first, last := samples[0], samples[len(samples)-1]
	if last.calls == first.calls {
		return 0
	}
	return (last.refused - first.refused) / (last.calls - first.calls)
}

// worstShare is the smallest usedShare of any time of this length; of all of it when it is shorter.
func worstShare(samples []sample, length time.Duration) float64 {
	worst, found := usedShare(samples), false
	for i, from := range samples {
		part := window(samples[i:], from.at, from.at+length)
		if part[len(part)-1].at-from.at < length {
			break
		}
		if share := usedShare(part); !found || share < worst {
			worst, found = share, true
		}
	}
	return worst
}
