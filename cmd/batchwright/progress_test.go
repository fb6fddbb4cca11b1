package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
)

// sameAsGolden compares with a file in testdata; UPDATE_GOLDEN=1 writes it anew.
func sameAsGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (UPDATE_GOLDEN=1 accepts it):\n%s", name, diff)
	}
}

// screen is a small terminal: it knows the sequences that progress uses and refuses all others.
type screen struct {
	t      *testing.T
	mu     sync.Mutex
	width  int
	lines  [][]rune
	row    int
	column int
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines == nil {
		s.lines = [][]rune{nil}
	}
	text := []rune(string(b))
	for len(text) > 0 {
		switch rest := string(text); {
		case strings.HasPrefix(rest, "\x1b[A"):
			s.row = max(0, s.row-1)
			text = text[3:]
		case strings.HasPrefix(rest, "\x1b[K"):
			s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
			text = text[3:]
		case strings.HasPrefix(rest, "\x1b[J"):
			s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
			s.lines = s.lines[:s.row+1]
			text = text[3:]
		case text[0] == '\x1b':
			s.t.Errorf("unknown sequence %q", rest[:min(8, len(rest))])
			return len(b), nil
		case text[0] == '\r':
			s.column, text = 0, text[1:]
		case text[0] == '\n': // a terminal in its usual mode returns the carriage too
			s.column = 0
			s.down()
			text = text[1:]
		default:
			if s.column == s.width {
				s.column = 0
				s.down()
			}
			line := s.lines[s.row]
			for len(line) <= s.column {
				line = append(line, ' ')
			}
			line[s.column] = text[0]
			s.lines[s.row] = line
			s.column++
			text = text[1:]
		}
	}
	return len(b), nil
}

func (s *screen) down() {
	s.row++
	if s.row == len(s.lines) {
		s.lines = append(s.lines, nil)
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, line := range s.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}

var stages = []struct {
	name string
	snapshot
	rate float64
}{
	{"start", snapshot{Phase: "reading"}, 0},
	{"reading", snapshot{Phase: "calling", Total: 64_000, Done: 120, Succeeded: 120, InFlight: 64, Calls: 184}, 41.25},
	{
		"calling", snapshot{
			Phase: "calling", Total: 10_000, TotalKnown: true, Done: 4321, Succeeded: 4318, Failed: 3, Reused: 20, Calls: 4400,
			Retries: 15, Repeats: 2, Tokens: jobs.Usage{Input: 1_234_567, Output: 345_678}, Cost: 2_345_000_000, Priced: true, InFlight: 64,
		}, 212.4,
	},
	{
		"waiting", snapshot{
			Total: 1_000_000, TotalKnown: true, Done: 999_999, Succeeded: 999_000, Failed: 999, Retries: 1234, Priced: true, Cost: 1_234_567_890_123,
			Tokens: jobs.Usage{Input: 123_456_789, Output: 9999, CacheRead: 1}, Waiting: 118,
			Why: "held until 14:03:07: rate_limit_error\x1b[2J\nfrom the API", BoundBy: "hold", InFlight: 1,
		}, 0.05,
	},
	{"wide characters", snapshot{Total: 3, TotalKnown: true, Done: 1, Why: strings.Repeat("制限", 60)}, 0},
	{"complete", snapshot{Phase: "writing", Total: 10, TotalKnown: true, Done: 10, Succeeded: 10, Calls: 10}, 5},
	{"nothing to do", snapshot{TotalKnown: true}, 0},
}

func TestDisplay(t *testing.T) {
	t.Parallel()
	for _, width := range []int{40, 80, 120} {
		for look, st := range map[string]style{"unicode": {unicode: true}, "ascii": {}} {
			t.Run(fmt.Sprint(width, " ", look), func(t *testing.T) {
				t.Parallel()
				var b strings.Builder
				for _, stage := range stages {
					plain, painted := render(stage.snapshot, stage.rate, width, st)
					if diff := cmp.Diff(plain, painted); diff != "" {
						t.Errorf("%s is painted without colour: %s", stage.name, diff)
					}
					fmt.Fprintf(&b, "-- %s\n%s\n", stage.name, strings.Join(plain, "\n"))
					for _, line := range plain {
						if n := cells(line); n > width {
							t.Errorf("%s: %d columns: %q", stage.name, n, line)
						}
						if look == "ascii" && stage.name != "wide characters" && strings.ContainsFunc(line, func(r rune) bool { return r > 126 || r < 32 }) {
							t.Errorf("%s: not ASCII: %q", stage.name, line)
						}
					}
					if len(plain) > 2 {
						t.Errorf("%s: %d lines", stage.name, len(plain))
					}
				}
				sameAsGolden(t, fmt.Sprintf("progress_%s_%d.txt", look, width), b.String())
			})
		}
	}
}

func TestEveryWidthHoldsTheDisplay(t *testing.T) {
	t.Parallel()
	for width := narrowest - 1; width < 200; width++ {
		for _, stage := range stages {
			plain, _ := render(stage.snapshot, stage.rate, width, style{unicode: true})
			for _, line := range plain {
				if n := cells(line); n > width {
					t.Errorf("%s in %d columns takes %d: %q", stage.name, width, n, line)
				}
			}
		}
	}
}

func TestColours(t *testing.T) {
	t.Parallel()
	_, painted := render(snapshot{Failed: 3, Why: "because"}, 0, 80, style{colour: true})
	if want := "\x1b[31m3 failed\x1b[0m | \x1b[33mwaiting: because\x1b[0m"; painted[1] != want {
		t.Errorf("%q, want %q", painted[1], want)
	}
}

func TestStyleOfEnvironment(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		env  map[string]string
		want style
	}{
		"nothing set":            {nil, style{colour: true}},
		"utf-8":                  {map[string]string{"LANG": "de_DE.UTF-8"}, style{true, true}},
		"utf8, as in C.utf8":     {map[string]string{"LC_CTYPE": "C.utf8", "LANG": "C"}, style{true, true}},
		"LC_ALL wins":            {map[string]string{"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, style{colour: true}},
		"NO_COLOR":               {map[string]string{"NO_COLOR": "1"}, style{}},
		"empty NO_COLOR is none": {map[string]string{"NO_COLOR": ""}, style{colour: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := styleOf(func(key string) string { return tt.env[key] }); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRateIsThatOfTheLastTenSeconds(t *testing.T) {
	t.Parallel()
	const s = time.Second
	tests := map[string]struct {
		samples []sample
		want    float64
	}{
		"first sample":           {[]sample{{0, 500}}, 0},
		"too soon to say":        {[]sample{{0, 0}, {s / 2, 100}}, 0},
		"done before this start": {[]sample{{0, 5000}, {2 * s, 5100}}, 50},
		"only the last ten":      {[]sample{{0, 0}, {5 * s, 5000}, {10 * s, 5100}, {20 * s, 5300}}, 20},
		"a sample every ten":     {[]sample{{0, 0}, {10 * s, 1000}, {20 * s, 1100}}, 10},
		"standing still":         {[]sample{{0, 0}, {5 * s, 5000}, {20 * s, 5000}, {30 * s, 5000}}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m meter
			var got float64
			for _, x := range tt.samples {
				got = m.observe(x.at, x.done)
			}
			if got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// Holds: log lines scroll past above the display without tearing, and the end leaves them alone on the screen.
func TestFollowOnATerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tty := &screen{t: t, width: 60}
		p := &progress{out: tty, width: func() int { return 60 }}
		log := slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		var followed sync.WaitGroup
		followed.Go(func() {
			p.follow(ctx, log, func() snapshot {
				since := time.Since(begin)
				done := int64(since / (20 * time.Millisecond))
				s := snapshot{Total: 1000, TotalKnown: true, Done: done, Calls: done, Elapsed: since, InFlight: 8}
				if since > 2*time.Second {
					s.Why = "a long reason that is cut because the line is not so long"
				}
				return s
			})
		})
		log.Info("before the first frame")
		var b strings.Builder
		for _, ms := range []int{100, 1100, 2300, 2900} {
			time.Sleep(time.Duration(ms)*time.Millisecond - time.Since(begin))
			synctest.Wait()
			fmt.Fprintf(&b, "-- %d ms\n%s", ms, tty)
			log.Warn("a warning", slog.Int("at_ms", ms))
			fmt.Fprintf(&b, "-- %d ms, logged\n%s", ms, tty)
		}
		cancel()
		followed.Wait()
		fmt.Fprintf(&b, "-- end\n%s", tty)
		sameAsGolden(t, "progress_screen.txt", b.String())
		if n, err := p.Write([]byte("no newline")); err != nil || n != 10 {
			t.Error(n, err)
		}
	})
}

// Holds: a line that a narrower terminal has wrapped is cleared with all of its rows.
func TestTerminalBecomesNarrower(t *testing.T) {
	t.Parallel()
	tty := &screen{t: t, width: 80}
	p := &progress{out: tty, width: func() int { return tty.width }}
	long := snapshot{Total: 100, TotalKnown: true, Done: 10, Why: strings.Repeat("x", 90)}
	p.draw(long, 0)
	// The terminal breaks both lines of 79 columns in two.
	tty.width = 50
	var rows [][]rune
	for _, line := range tty.lines {
		for ; len(line) > 50; line = line[50:] {
			rows = append(rows, line[:50:50])
		}
		rows = append(rows, line)
	}
	tty.lines, tty.row, tty.column = rows, len(rows)-1, len(rows[len(rows)-1])
	p.draw(long, 0)
	if len(tty.lines) != 2 {
		t.Errorf("left on the screen:\n%s", tty)
	}
}

func TestUnchangedFrameIsNotDrawnAgain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &progress{out: &out, width: func() int { return 80 }}
	p.draw(snapshot{Total: 5}, 0)
	n := out.Len()
	if p.draw(snapshot{Total: 5}, 0); out.Len() != n {
		t.Error("drawn twice")
	}
}

func TestFollowWithoutATerminal(t *testing.T) {
	t.Parallel()
	for name, quiet := range map[string]bool{"a line every ten seconds": false, "quiet": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				p := &progress{out: &out, quiet: quiet}
				log := slog.New(slog.NewJSONHandler(p, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				}}))
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				begin := time.Now()
				p.follow(ctx, log, func() snapshot {
					s := stages[2].snapshot
					s.Elapsed = time.Since(begin)
					if s.Elapsed > 15*time.Second {
						s = stages[3].snapshot
						s.Elapsed = time.Since(begin)
					}
					return s
				})
				if quiet {
					if out.Len() > 0 {
						t.Errorf("quiet wrote %q", out.String())
					}
					return
				}
				sameAsGolden(t, "progress_log.txt", out.String())
			})
		})
	}
}

func TestProgressOnAFileIsNoTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p := newProgress(f, false, func(string) string { return "" }); p.width != nil {
		t.Error("a file is taken for a terminal")
	}
}

// Holds: of a longer line or frame nothing is left behind a shorter one.
func TestShorterFrameCoversALongerOne(t *testing.T) {
	t.Parallel()
	tty := &screen{t: t, width: 80}
	p := &progress{out: tty, width: func() int { return tty.width }}
	p.draw(snapshot{Total: 1_000_000, Phase: "reading", InFlight: 3}, 0)
	p.draw(snapshot{Total: 1, InFlight: 3}, 0)
	if diff := cmp.Diff("0 done, 1 read so far\n3 in flight\n", tty.String()); diff != "" {
		t.Error(diff)
	}
	p.draw(snapshot{Total: 1}, 0)
	if diff := cmp.Diff("0 done, 1 read so far\n", tty.String()); diff != "" {
		t.Error(diff)
	}
}

// Holds: an API's text cannot move the cursor.
func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	t.Parallel()
	plain, _ := render(snapshot{Why: "\x1b[2Jred\r\nalert\u202e", Phase: "a\tb"}, 0, 80, style{})
	if diff := cmp.Diff([]string{"0 done, 0 read so far  a b", "waiting:  [2Jred  alert "}, plain); diff != "" {
		t.Error(diff)
	}
}
