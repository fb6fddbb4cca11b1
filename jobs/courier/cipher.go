package courier

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	// minSecret is the least length of a secret in bytes. Nothing slows down guesses at a short one.
	minSecret = 16
	// keyPurpose and fingerprintPurpose separate what is derived from one secret.
	keyPurpose         = "batchwright redis encryption 1"
	fingerprintPurpose = "batchwright redis fingerprint 1"
)

// ErrSealed says that a sealed text can't be opened: it was sealed with another key, for another purpose, or is damaged.
var ErrSealed = errors.New("encrypted with another key or damaged")

// Cipher encrypts what Redis holds of prompts and answers, with a key that coordinator and workers derive from the same
// secret: HKDF-SHA256 (RFC 5869, without salt), then AES-256-GCM with random nonces of 96 bits, which is good for 2^32
// texts a secret (NIST SP 800-38D, section 8.3). A nil Cipher leaves texts as they are. Its methods may be called at
// the same time.
type Cipher struct {
	gcm         cipher.AEAD
	fingerprint string
}

// NewCipher derives a key from a secret of at least 16 bytes. The secret should be random: a phrase that people can
// remember can be guessed by whoever copies Redis.
func NewCipher(secret string) (*Cipher, error) {
	if len(secret) < minSecret {
		return nil, fmt.Errorf("the encryption secret has %d bytes and needs %d: take random ones, as `openssl rand -base64 32` prints",
			len(secret), minSecret)
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, keyPurpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive encryption key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up encryption: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("set up encryption: %w", err)
	}
	mark, err := hkdf.Key(sha256.New, []byte(secret), nil, fingerprintPurpose, 4)
	if err != nil {
		return nil, fmt.Errorf("derive fingerprint of the encryption key: %w", err)
	}
	return &Cipher{gcm, hex.EncodeToString(mark)}, nil
}

// Fingerprint tells keys apart without giving them away: 8 hexadecimal digits, or nothing for a nil Cipher.
func (c *Cipher) Fingerprint() string {
	if c == nil {
		return ""
	}
	return c.fingerprint
}

// Seal encrypts plain so that Open gives it back for the same purpose alone, which is additional data in the words of
// AES-GCM: nonce, ciphertext and tag, 28 bytes longer than plain. No two results are alike.
func (c *Cipher) Seal(plain, purpose []byte) []byte {
	if c == nil {
		return plain
	}
	return c.gcm.Seal(nil, nil, plain, purpose) //nolint:gosec // this AEAD makes the nonce itself
}

// Open decrypts what Seal made. ErrSealed when it was not made with this key and for this purpose, or changed since.
func (c *Cipher) Open(sealed, purpose []byte) ([]byte, error) {
	if c == nil {
		return sealed, nil
	}
	plain, err := c.gcm.Open(nil, nil, sealed, purpose)
	if err != nil {
		return nil, ErrSealed // the library's own error says no more
	}
	return plain, nil
}
