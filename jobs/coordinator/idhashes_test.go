package coordinator

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Hashes that occur twice are found whatever lies between them, also when they do not all fit into memory at once.
func TestTwice(t *testing.T) {
	t.Parallel()
	h, err := newIDHashes()
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	const n = 3*hashesAtOnce + 7
	for i := range uint64(n) {
		if err := h.add(i * 0x9e3779b97f4a7c15); err != nil {
			t.Fatal(err)
		}
	}
	want := map[uint64]bool{}
	for _, i := range []uint64{0, 5, n - 1} {
		again := i * 0x9e3779b97f4a7c15
		want[again] = true
		if err := h.add(again); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.twice(10)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("twice: %v (-want +got):\n%s", err, diff)
	}
	if got, err := h.twice(2); err != nil || len(got) != 2 {
		t.Errorf("at most 2: %d found, %v", len(got), err)
	}
}
