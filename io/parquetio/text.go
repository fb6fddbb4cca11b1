package parquetio

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchwright/batchwright/jobs"
)

// textForm says how a leaf's stored values become JSON texts.
type textForm uint8

const (
	textBoolean textForm = iota
	textSigned
	textUnsigned32
	textUnsigned64
	textFloat16
	textFloat32
	textFloat64
	textDecimal
	textDecimalBytes
	textDate
	textTime
	textTimestamp
	textInt96
	textString
	textJSON
	textUUID
	textBinary
)

// value is a stored value: n holds numbers, and the bits of floats; b all that is bytes. b is valid until the
// next value is read.
type value struct {
	n int64
	b []byte
}

// julianEpoch is the Julian day number of 1970-01-01.
const julianEpoch = 2_440_588

// appendText appends a value's JSON text. problem says why it has none, without the value.
func (l *leafColumn) appendText(dst []byte, v value) (out []byte, problem string) {
	switch l.text {
	case textBoolean:
		return strconv.AppendBool(dst, v.n != 0), ""
	case textSigned:
		return strconv.AppendInt(dst, v.n, 10), ""
	case textUnsigned32:
		return strconv.AppendUint(dst, uint64(uint32(v.n)), 10), "" //nolint:gosec // the stored bits
	case textUnsigned64:
		return strconv.AppendUint(dst, uint64(v.n), 10), "" //nolint:gosec // the stored bits
	case textFloat16:
		return appendFloat(dst, float16(binary.LittleEndian.Uint16(v.b)), 32), ""
	case textFloat32:
		return appendFloat(dst, float64(math.Float32frombits(uint32(v.n))), 32), "" //nolint:gosec // the stored bits
	case textFloat64:
		return appendFloat(dst, math.Float64frombits(uint64(v.n)), 64), "" //nolint:gosec // the stored bits
	case textDecimal:
		var digits [20]byte
		return appendPoint(dst, strconv.AppendInt(digits[:0], v.n, 10), l.typ.Scale), ""
	case textDecimalBytes:
		return appendDecimalText(dst, v.b, l.typ.Scale)
	case textDate:
		dst = append(dst, '"')
		return append(appendDate(dst, v.n), '"'), ""
	case textTime:
		digits := unitDigits(l.typ.Unit)
		if v.n < 0 || v.n >= secondsOfDay*tens[digits] {
			return dst, "holds a time outside of the day"
		}
		dst = append(dst, '"')
		return append(appendClock(dst, v.n, digits), '"'), ""
	case textTimestamp:
		dst = append(dst, '"')
		dst = appendTimestamp(dst, v.n, unitDigits(l.typ.Unit))
		if l.typ.UTC {
			dst = append(dst, 'Z')
		}
		return append(dst, '"'), ""
	case textInt96:
		return appendInt96(dst, v.b)
	case textString:
		if !utf8.Valid(v.b) {
			return dst, "holds text that is not UTF-8"
		}
		return jobs.AppendString(dst, v.b), ""
	case textJSON:
		// By RFC 7493 as everywhere: UTF-8, and no name twice in an object.
		if !jsontext.Value(v.b).IsValid() {
			return dst, "holds text that is no JSON, or JSON with a name twice"
		}
		return append(dst, v.b...), ""
	case textUUID:
		return appendUUID(dst, v.b), ""
	default: // textBinary
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.b)
		return append(dst, '"'), ""
	}
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits)
}

// float16 widens an IEEE 754 half-precision number.
func float16(half uint16) float64 {
	sign, exponent, fraction := half>>15, int(half>>10&0x1f), float64(half&0x3ff)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 0x1f:
		if fraction != 0 {
			return math.NaN()
		}
		f = math.Inf(1)
	default:
		f = math.Ldexp(1024+fraction, exponent-25)
	}
	if sign != 0 {
		return math.Copysign(f, -1)
	}
	return f
}

// appendPoint appends the digits of a whole number as a decimal of that scale.
func appendPoint(dst, digits []byte, scale int) []byte {
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	if scale == 0 {
		return append(dst, digits...)
	}
	whole := len(digits) - scale
	if whole <= 0 {
		dst = append(dst, '0', '.')
		for range -whole {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[:whole]...)
	dst = append(dst, '.')
	return append(dst, digits[whole:]...)
}

// appendDecimalText appends a decimal that is stored as big-endian two's complement.
func appendDecimalText(dst, stored []byte, scale int) (out []byte, problem string) {
	if len(stored) == 0 || len(stored) > 64 {
		return dst, "holds a decimal of an impossible size"
	}
	n := new(big.Int).SetBytes(stored)
	if stored[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(stored))))
	}
	return appendPoint(dst, n.Append(nil, 10), scale), ""
}

func appendInt96(dst, stored []byte) (out []byte, problem string) {
	nanos := binary.LittleEndian.Uint64(stored)
	day := int64(int32(binary.LittleEndian.Uint32(stored[8:]))) //nolint:gosec // a signed day number
	if nanos >= secondsOfDay*nanosOfSecond {
		return dst, "holds a time outside of the day"
	}
	dst = append(dst, '"')
	dst = append(appendDate(dst, day-julianEpoch), 'T')
	return append(appendClock(dst, int64(nanos), 9), '"'), ""
}

func appendUUID(dst, stored []byte) []byte {
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, stored[:4])
	for _, part := range [...][]byte{stored[4:6], stored[6:8], stored[8:10], stored[10:]} {
		dst = hex.AppendEncode(append(dst, '-'), part)
	}
	return append(dst, '"')
}
