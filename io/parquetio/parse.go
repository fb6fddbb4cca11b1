package parquetio

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/batchwright/batchwright/jobs"
)

// powersOfTen holds 10^0 to 10^maxPrecision.
var powersOfTen = func() [maxPrecision + 1]*big.Int {
	var powers [maxPrecision + 1]*big.Int
	powers[0] = big.NewInt(1)
	for i := 1; i < len(powers); i++ {
		powers[i] = new(big.Int).Mul(powers[i-1], big.NewInt(10))
	}
	return powers
}()

// maxDigits bounds the digits of a number that is looked at; no type holds as many.
const maxDigits = 400

// appendString appends what a JSON string says; ok is false when text is no JSON string.
func appendString(dst []byte, text []byte) (out []byte, ok bool) {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return dst, false
	}
	inner := text[1 : len(text)-1]
	plain := true
	for _, b := range inner {
		if b == '\\' {
			plain = false
			break
		}
		if b < ' ' || b == '"' {
			return dst, false
		}
	}
	if plain {
		return append(dst, inner...), utf8.Valid(inner)
	}
	var s string
	if json.Unmarshal(text, &s) != nil {
		return dst, false
	}
	return append(dst, s...), true
}

// appendBinary appends the bytes that a JSON string holds in base64.
func appendBinary(dst []byte, text []byte) (out []byte, ok bool) {
	before := len(dst)
	dst, ok = appendString(dst, text)
	if !ok {
		return dst, false
	}
	encoded := dst[before:]
	// Decoding in place is safe: each step writes fewer bytes than it has read.
	n, err := base64.StdEncoding.Strict().Decode(encoded, encoded)
	return dst[:before+n], err == nil
}

// parseFloat reads a JSON number, or one of the strings that stand for values that JSON has no numbers for.
func parseFloat(text []byte, bits int) (float64, bool) {
	switch string(text) {
	case `"NaN"`:
		return math.NaN(), true
	case `"Infinity"`:
		return math.Inf(1), true
	case `"-Infinity"`:
		return math.Inf(-1), true
	}
	// ParseFloat takes more than JSON does: hexadecimal, underscores, words.
	for _, b := range text {
		if (b < '0' || b > '9') && b != '-' && b != '+' && b != '.' && b != 'e' && b != 'E' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(string(text), bits)
	return f, err == nil
}

// parseInteger reads a JSON number that is whole ("12", "12.0", "1.2e1") and fits the type.
func parseInteger(text []byte, t *jobs.Type) (int64, bool) {
	bits := width(t)
	if t.Unsigned {
		u, err := strconv.ParseUint(string(text), 10, bits)
		if err == nil {
			return int64(u), true //nolint:gosec // the bits are what is stored; the column's type says how to read them
		}
	} else if n, err := strconv.ParseInt(string(text), 10, bits); err == nil && text[0] != '+' {
		return n, true
	}
	whole, ok := parseScaled(text, 0)
	switch {
	case !ok:
		return 0, false
	case t.Unsigned:
		return int64(whole.Uint64()), whole.Sign() >= 0 && whole.BitLen() <= bits //nolint:gosec // as above
	default:
		n := whole.Int64()
		return n, whole.IsInt64() && n >= -1<<(bits-1) && n <= 1<<(bits-1)-1
	}
}

// parseUnscaled reads a JSON number as a whole number of units of 10^-scale, of at most 18 digits.
func parseUnscaled(text []byte, precision, scale int) (int64, bool) {
	at, negative := 0, false
	if at < len(text) && text[at] == '-' {
		at, negative = 1, true
	}
	n, digits, fraction, point := int64(0), 0, 0, false
	for ; at < len(text); at++ {
		b := text[at]
		switch {
		case b == '.' && !point && digits > 0:
			point = true
			continue
		case b < '0' || b > '9' || digits == maxDigitsInt64 || point && fraction == scale:
			// An exponent, zeros beyond the scale, or no number: not the common form.
			whole, ok := parseScaled(text, scale)
			if !ok || !whole.IsInt64() {
				return 0, false
			}
			n = whole.Int64()
			return n, abs(n) < powersOfTen[precision].Int64()
		}
		n, digits = n*10+int64(b-'0'), digits+1
		if point {
			fraction++
		}
	}
	if digits == 0 || point && fraction == 0 {
		return 0, false
	}
	for ; fraction < scale; fraction++ {
		if n > math.MaxInt64/10 {
			return 0, false
		}
		n *= 10
	}
	if negative {
		n = -n
	}
	return n, abs(n) < powersOfTen[precision].Int64()
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// parseScaled reads any JSON number as a whole number of units of 10^-scale; ok is false when it is none.
func parseScaled(text []byte, scale int) (n *big.Int, ok bool) {
	if len(text) > maxDigits {
		return nil, false
	}
	digits := make([]byte, 0, len(text))
	at, point := 0, -1
	if at < len(text) && text[at] == '-' {
		digits = append(digits, '-')
		at++
	}
	first := at
	for ; at < len(text) && text[at] != 'e' && text[at] != 'E'; at++ {
		switch b := text[at]; {
		case b == '.' && point < 0:
			point = at
		case b >= '0' && b <= '9':
			digits = append(digits, b)
		default:
			return nil, false
		}
	}
	// A point needs digits on both sides.
	if at == first || point == first || point == at-1 {
		return nil, false
	}
	shift := scale
	if point >= 0 {
		shift -= at - point - 1
	}
	if at < len(text) {
		exponent, err := strconv.Atoi(string(text[at+1:]))
		if err != nil || exponent > maxDigits || exponent < -maxDigits {
			return nil, false
		}
		shift += exponent
	}
	n, ok = new(big.Int).SetString(string(digits), 10)
	if !ok {
		return nil, false
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(shift, -shift))), nil)
	if shift >= 0 {
		return n.Mul(n, power), true
	}
	rest := new(big.Int)
	n.QuoRem(n, power, rest)
	return n, rest.Sign() == 0
}

// appendDecimal appends a decimal as big-endian two's complement of size bytes.
func appendDecimal(dst []byte, text []byte, t *jobs.Type, size int) (out []byte, ok bool) {
	n, ok := parseScaled(text, t.Scale)
	if !ok || n.CmpAbs(powersOfTen[t.Precision]) >= 0 {
		return dst, false
	}
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	before := len(dst)
	for range size {
		dst = append(dst, 0)
	}
	n.FillBytes(dst[before:])
	return dst, true
}
