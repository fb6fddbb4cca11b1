package courier

import (
	"encoding/binary"
	"fmt"
)

// What is encrypted, bound to its purpose, so that nothing can be taken for something else.
const (
	purposeHandOut  = "hand-out"
	purposeResults  = "results"
	purposeQuestion = "question"
	purposeAnswer   = "answer " // and its id
)

// bound is the additional data under which something of a run is encrypted.
func bound(purpose, run string, n Number) []byte {
	return binary.BigEndian.AppendUint64([]byte(purpose+"\x00"+run+"\x00"), uint64(n))
}

// seal encrypts where there is a key, and leaves data as it is where there is none.
func (c *Cipher) seal(data []byte, purpose, run string, n Number) []byte {
	if c == nil {
		return data
	}
	return c.Seal(data, bound(purpose, run, n))
}

// open undoes seal; the error wraps ErrFormat.
func (c *Cipher) open(data []byte, purpose, run string, n Number) ([]byte, error) {
	if c == nil {
		return data, nil
	}
	plain, err := c.Open(data, bound(purpose, run, n))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return plain, nil
}
