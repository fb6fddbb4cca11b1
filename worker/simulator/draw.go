package simulator

import "math"

// draw is a stream of pseudo-random numbers (splitmix64): a value, so that each call can have its own without a lock or
// an allocation, and the same on every machine and Go version, so that an answer depends on nothing but its seed.
type draw uint64

func (d *draw) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit returns a number in [0, 1).
func (d *draw) unit() float64 { return float64(d.next()>>11) / (1 << 53) }

// below returns a whole number in [0, n); n must be positive.
func (d *draw) below(n int) int { return int(d.unit() * float64(n)) }

// between returns a whole number in [low, high].
func (d *draw) between(low, high int) int { return low + d.below(high-low+1) }

// hits reports whether an event of this share happens.
func (d *draw) hits(share Share) bool { return d.unit() < float64(share) }

// lognormal returns a draw from the lognormal distribution with this median and sigma.
func (d *draw) lognormal(median, sigma float64) float64 {
	// Box and Muller's transform; 1-unit keeps the logarithm's argument off zero.
	normal := math.Sqrt(-2*math.Log(1-d.unit())) * math.Cos(2*math.Pi*d.unit())
	return median * math.Exp(sigma*normal)
}
