package jobs

import (
	"crypto/sha256"
	"encoding/hex"
)

// Digest identifies the rendered body of a request: the first 16 bytes of its SHA-256.
type Digest [16]byte

// DigestOf hashes a rendered request body.
func DigestOf(body []byte) Digest {
	sum := sha256.Sum256(body)
	return Digest(sum[:16])
}

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a hexadecimal digest.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return hex.InvalidByteError(0)
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// Request is what a worker needs to answer one record.
type Request struct {
	// Record is the record's number.
	Record int64
	// Digest identifies Body.
	Digest Digest
	// Body is the rendered body of POST /v1/messages.
	Body []byte
	// Attempts counts the ended attempts that this record has used on earlier hand-outs.
	Attempts int
	// Calls counts every HTTP call made for this record on earlier hand-outs.
	Calls int
	// Refusals counts the rate-limit refusals that were this record's own fault (see ReasonTooLarge).
	Refusals int
}
