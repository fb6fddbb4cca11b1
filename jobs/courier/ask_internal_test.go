package courier

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// Each piece of an answer can be read as that piece of that answer alone.
func TestPieceIsBound(t *testing.T) {
	t.Parallel()
	cipher := newCipher(t, testSecret)
	sealed := sealPiece([]byte("text"), true, 3, "a", cipher, "r1")
	if piece, last, err := parsePiece(sealed, 3, "a", cipher, "r1"); err != nil || !last || string(piece) != "text" {
		t.Errorf("%q, %v, %v", piece, last, err)
	}
	for name, open := range map[string]func() error{
		"another place":  func() error { _, _, err := parsePiece(sealed, 2, "a", cipher, "r1"); return err },
		"another answer": func() error { _, _, err := parsePiece(sealed, 3, "b", cipher, "r1"); return err },
		"another run":    func() error { _, _, err := parsePiece(sealed, 3, "a", cipher, "r2"); return err },
		"a question":     func() error { _, err := parseQuestion(sealed, cipher, "r1"); return err },
	} {
		if open() == nil {
			t.Errorf("it was read as %s", name)
		}
	}
}

// Whatever lies in the list of questions is a question or an error, and so it is with pieces of an answer.
func FuzzParseQuestion(f *testing.F) {
	id := rand.Text()
	f.Add(sealQuestion(id, []byte(`{"a":1}`), nil, "r1"))
	f.Add(sealPiece([]byte("text"), false, 0, id, nil, "r1"))
	f.Add([]byte{formatVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		if q, err := parseQuestion(data, nil, "r1"); err == nil {
			again, err := parseQuestion(sealQuestion(q.id, q.Text, nil, "r1"), nil, "r1")
			if err != nil || again.id != q.id {
				t.Errorf("question %q, %v; was %q", again.id, err, q.id)
			}
		}
		if piece, last, err := parsePiece(data, 0, id, nil, "r1"); err == nil {
			again, lastAgain, err := parsePiece(sealPiece(piece, last, 0, id, nil, "r1"), 0, id, nil, "r1")
			if err != nil || lastAgain != last || !bytes.Equal(again, piece) {
				t.Errorf("piece %q %v, %v; was %q %v", again, lastAgain, err, piece, last)
			}
		}
	})
}
