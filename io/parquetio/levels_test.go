package parquetio

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

func TestLevelsReadRuns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		data []byte
		most int
		want []int // up to the error
	}{
		{"no levels are stored", nil, 0, []int{0, 0, 0}},
		{"run", []byte{3 << 1, 1}, 1, []int{1, 1, 1}},
		{"packed", []byte{1<<1 | 1, 0b00011011, 0}, 3, []int{3, 2, 1, 0, 0, 0, 0, 0}},
		{"packed, then a run", []byte{1<<1 | 1, 0xaa, 1 << 1, 1}, 1, []int{0, 1, 0, 1, 0, 1, 0, 1, 1}},
		{"empty runs between", []byte{0, 1, 1, 2 << 1, 1}, 1, []int{1, 1}},
		{"packed and cut", []byte{2<<1 | 1, 0xff}, 1, []int{1, 1, 1, 1, 1, 1, 1, 1}},
		{"above the highest level", []byte{3 << 1, 3}, 2, nil},
		{"wider than a level", []byte{3 << 1, 4}, 3, nil},
		{"run without its value", []byte{3 << 1}, 1, nil},
		{"head without end", []byte{0xff, 0xff}, 1, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLevels(test.data, test.most)
			var got []int
			for range len(test.want) + 1 {
				n, err := l.next()
				if err != nil {
					if !errors.Is(err, errPage) {
						t.Errorf("error %v, want errPage", err)
					}
					break
				}
				got = append(got, n)
			}
			if test.most == 0 {
				got = got[:len(test.want)]
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("levels (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzDeltas holds that what parquet-go packs as deltas reads back, and that no bytes make reading panic.
func FuzzDeltas(f *testing.F) {
	f.Add([]byte{0x80, 0x01, 0x04, 0x03, 0x02, 0x02, 0, 0, 0, 0}, int64(7), int64(-9), uint16(300))
	f.Add([]byte{}, int64(-1<<63), int64(1<<63-1), uint16(129))
	f.Fuzz(func(t *testing.T, raw []byte, a, b int64, count uint16) {
		if d, err := newDeltas(raw); err == nil {
			for range min(d.left, 1000) {
				if _, err := d.next(); err != nil {
					break
				}
			}
		}
		numbers := make([]int64, int(count)%1000+1)
		for i := range numbers {
			numbers[i] = a + b*int64(i%7)
		}
		packed, err := parquet.DeltaBinaryPacked.EncodeInt64(nil, numbers)
		if err != nil {
			t.Fatal(err)
		}
		d, err := newDeltas(append(packed, "what follows"...))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range numbers {
			if got, err := d.next(); err != nil || got != want {
				t.Fatalf("number %d of %d is %d (%v), want %d", i, len(numbers), got, err, want)
			}
		}
		if string(d.data) != "what follows" {
			t.Errorf("%d bytes are left behind the numbers", len(d.data))
		}
	})
}
