package coordinator

import (
	"testing"
	"time"
)

// The pace is that of the last minute: a pause shows in it, and is forgotten a minute after its end.
func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	now, done := time.Unix(1_700_000_000, 0), int64(500)
	if got := p.rate(now, done); got != 0 {
		t.Errorf("at the first note %v", got)
	}
	for _, stretch := range []struct {
		name    string
		seconds int
		each    int64 // records a second
		want    float64
	}{
		{"a little", 10, 30, 30},
		{"long", 200, 30, 30},
		{"half a minute of pause", 30, 0, 15},
		{"a long pause", 100, 0, 0},
		{"going on", 15, 40, 10},
		{"for long", 60, 40, 40},
	} {
		var got float64
		for range stretch.seconds {
			now, done = now.Add(time.Second), done+stretch.each
			got = p.rate(now, done)
		}
		if got != stretch.want {
			t.Errorf("after %s: %v records a second, want %v", stretch.name, got, stretch.want)
		}
	}
	if len(p.marks) > 62 {
		t.Errorf("%d notes are kept for a minute", len(p.marks))
	}
}
