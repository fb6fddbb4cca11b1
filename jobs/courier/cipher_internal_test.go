package courier

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

const testSecret = "0123456789abcdef-secret"

func newCipher(tb testing.TB, secret string) *Cipher {
	tb.Helper()
	c, err := NewCipher(secret)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// What is sealed for a hand-out opens with the same secret for the same hand-out, and in no other way.
func TestCipherOpen(t *testing.T) {
	t.Parallel()
	plain := []byte(`{"content":"what nobody else may read"}`)
	purpose := []byte("hand-out\x00run\x007")
	sealed := newCipher(t, testSecret).Seal(plain, purpose)
	if bytes.Contains(sealed, []byte("nobody")) {
		t.Fatal("the sealed text shows the plain one")
	}
	changed := func(at int) []byte {
		c := slices.Clone(sealed)
		c[at] ^= 1
		return c
	}
	tests := []struct {
		name    string
		secret  string
		sealed  []byte
		purpose []byte
		opens   bool
	}{
		{"as it was sealed", testSecret, sealed, purpose, true},
		{"other secret", testSecret + "x", sealed, purpose, false},
		{"other run", testSecret, sealed, []byte("hand-out\x00ruin\x007"), false},
		{"other hand-out", testSecret, sealed, []byte("hand-out\x00run\x008"), false},
		{"other purpose", testSecret, sealed, []byte("results\x00run\x00"), false},
		{"nonce changed", testSecret, changed(0), purpose, false},
		{"text changed", testSecret, changed(12), purpose, false},
		{"tag changed", testSecret, changed(len(sealed) - 1), purpose, false},
		{"cut", testSecret, sealed[:len(sealed)-1], purpose, false},
		{"longer", testSecret, append(slices.Clone(sealed), 0), purpose, false},
		{"shorter than a nonce", testSecret, sealed[:5], purpose, false},
		{"empty", testSecret, nil, purpose, false},
		{"plain", testSecret, plain, purpose, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := newCipher(t, test.secret).Open(test.sealed, test.purpose)
			if test.opens {
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("opened as %q, %v", got, err)
				}
			} else if !errors.Is(err, ErrSealed) || got != nil {
				t.Errorf("opened as %q, %v; want ErrSealed", got, err)
			}
		})
	}
}

// Equal texts are sealed differently each time, so that Redis does not show which prompts are alike.
func TestCipherNonces(t *testing.T) {
	t.Parallel()
	c := newCipher(t, testSecret)
	seen := map[string]bool{}
	for range 1000 {
		sealed := c.Seal([]byte("same"), []byte("results\x00run\x00"))
		if nonce := string(sealed[:12]); seen[nonce] {
			t.Fatal("a nonce was used twice")
		} else {
			seen[nonce] = true
		}
	}
}

// Two processes with the same secret agree on the key; the fingerprint tells secrets apart and is no part of them.
func TestCipherFingerprint(t *testing.T) {
	t.Parallel()
	first, same, other := newCipher(t, testSecret), newCipher(t, testSecret), newCipher(t, testSecret+"x")
	if len(first.Fingerprint()) != 8 || first.Fingerprint() != same.Fingerprint() || first.Fingerprint() == other.Fingerprint() {
		t.Errorf("fingerprints %q, %q of the same secret and %q of another", first.Fingerprint(), same.Fingerprint(), other.Fingerprint())
	}
}

// earlierSealed is "plain", sealed by an earlier version for the purpose "hand-out 7".
func earlierSealed(tb testing.TB) []byte {
	tb.Helper()
	sealed, err := hex.DecodeString("aa1749bc37e453534828db74f8d10866287efe81773a9977f4ce1026626b7e4798")
	if err != nil {
		tb.Fatal(err)
	}
	return sealed
}

// What an earlier version sealed opens: coordinator and workers are not updated at the same moment.
func TestCipherOpensEarlierVersions(t *testing.T) {
	t.Parallel()
	sealed := earlierSealed(t)
	c := newCipher(t, testSecret)
	plain, err := c.Open(sealed, []byte("hand-out 7"))
	if err != nil || string(plain) != "plain" || c.Fingerprint() != "0163f170" {
		t.Errorf("opened as %q, %v under key %s; want plain under key 0163f170", plain, err, c.Fingerprint())
	}
}

// A Cipher that is nil changes nothing; one of a short secret is refused in words that don't show it.
func TestCipherWithout(t *testing.T) {
	t.Parallel()
	var none *Cipher
	if got := none.Seal([]byte("x"), nil); string(got) != "x" || none.Fingerprint() != "" {
		t.Errorf("sealed as %q under %q without a key", got, none.Fingerprint())
	}
	if got, err := none.Open([]byte("x"), nil); string(got) != "x" || err != nil {
		t.Errorf("opened as %q, %v without a key", got, err)
	}
	if _, err := NewCipher("too-short-15byt"); err == nil || strings.Contains(err.Error(), "too-short") ||
		!strings.Contains(err.Error(), "15 bytes") {
		t.Errorf("secret of 15 bytes: %v", err)
	}
}

// Whatever stands in Redis is refused, or is what was sealed; nothing of it stops the process.
func FuzzCipherOpen(f *testing.F) {
	c, sealed := newCipher(f, testSecret), earlierSealed(f)
	f.Add(sealed, []byte("hand-out 7"))
	f.Add(sealed[:20], []byte("hand-out 7"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, data, purpose []byte) {
		plain, err := c.Open(data, purpose)
		if err == nil && (!bytes.Equal(data, sealed) || string(purpose) != "hand-out 7") {
			t.Fatalf("opened %x for %q as %q", data, purpose, plain)
		}
		again, err := c.Open(c.Seal(data, purpose), purpose)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("sealed %x for %q, opened as %x, %v", data, purpose, again, err)
		}
	})
}
