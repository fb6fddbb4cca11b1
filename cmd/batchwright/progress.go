package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/batchwright/batchwright/jobs"
)

const (
	frameEvery   = 200 * time.Millisecond
	logEvery     = 10 * time.Second
	narrowest    = 20 // columns; also what a terminal that reports no width is never drawn below
	widthUnknown = 80
)

// snapshot is where a run stands at one moment.
type snapshot struct {
	// Phase is what the run is doing in a word or two ("calling", "draining"); it may be empty.
	Phase string
	// Total counts the input's records; it grows until TotalKnown.
	Total      int64
	TotalKnown bool
	// Done counts records with a result: Succeeded, of those Reused without a call, and Failed.
	Done, Succeeded, Failed, Reused int64
	// Calls counts HTTP calls; Retries those after a record's first; Repeats those that were paid for twice.
	Calls, Retries, Repeats int64
	Tokens                  jobs.Usage
	// Cost is valid only when Priced.
	Cost   jobs.Nanodollars
	Priced bool
	// InFlight counts calls that run; Waiting those that wait, for the reason Why (empty when none do). BoundBy names the
	// limit in a word, one of courier.Bounds, when it is one.
	InFlight, Waiting int
	Why, BoundBy      string
	// Elapsed is the time since this process took the run up.
	Elapsed time.Duration
}

// progress shows how a run goes: on a terminal in two lines that stay at its bottom, elsewhere as a log line every ten
// seconds. Everything else that goes to the same terminal must be written through it, so that lines do not tear.
type progress struct {
	out   io.Writer
	quiet bool
	style style
	// width gives the terminal's columns; nil where there is no terminal.
	width func() int

	mu    sync.Mutex
	shown []string // lines on the terminal, as plain text
	frame string   // the same as written
}

// newProgress returns a progress on stderr. The environment (NO_COLOR, TERM, LC_ALL, LC_CTYPE, LANG) decides how it looks.
func newProgress(stderr *os.File, quiet bool, getenv func(string) string) *progress {
	p := &progress{out: stderr, quiet: quiet, style: styleOf(getenv)}
	fd := int(stderr.Fd())
	if term.IsTerminal(fd) && getenv("TERM") != "dumb" {
		p.width = func() int {
			if columns, _, err := term.GetSize(fd); err == nil && columns > 0 {
				return max(columns, narrowest)
			}
			return widthUnknown
		}
	}
	return p
}

// styleOf reads from the environment what a terminal can and should show.
func styleOf(getenv func(string) string) style {
	locale := getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = getenv(name)
		}
	}
	locale = strings.ReplaceAll(strings.ToLower(locale), "-", "")
	return style{colour: getenv("NO_COLOR") == "", unicode: strings.HasSuffix(locale, ".utf8")}
}

// follow shows what read returns until ctx ends, and then leaves a clean line behind. Without a terminal it writes to
// log.
func (p *progress) follow(ctx context.Context, log *slog.Logger, read func() snapshot) {
	if p.quiet {
		return
	}
	every := logEvery
	if p.width != nil {
		every = frameEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var speed meter
	s := read()
	rate := speed.observe(s.Elapsed, s.Done)
	for {
		if p.width != nil {
			p.draw(s, rate)
		}
		select {
		case <-ctx.Done():
			p.erase()
			return
		case <-ticker.C:
		}
		s = read()
		rate = speed.observe(s.Elapsed, s.Done)
		if p.width == nil {
			log.LogAttrs(ctx, slog.LevelInfo, "progress", attributes(s, rate)...)
		}
	}
}

// attributes is a snapshot for a log. Those that say nothing are left out.
func attributes(s snapshot, rate float64) []slog.Attr {
	attrs := []slog.Attr{slog.Int64("done", s.Done)}
	add := func(is bool, a slog.Attr) {
		if is {
			attrs = append(attrs, a)
		}
	}
	left, known := timeLeft(s, rate)
	add(s.TotalKnown, slog.Int64("total", s.Total))
	add(true, slog.Int64("failed", s.Failed))
	add(s.Reused > 0, slog.Int64("reused", s.Reused))
	add(true, slog.Float64("records_per_second", float64(int64(rate*10+0.5))/10))
	add(known, slog.Int64("eta_seconds", int64(left.Seconds())))
	add(true, slog.Int64("calls", s.Calls))
	add(true, slog.Int64("retries", s.Retries))
	add(s.Repeats > 0, slog.Int64("repeats", s.Repeats))
	add(true, slog.Int64("input_tokens", s.Tokens.Input))
	add(true, slog.Int64("output_tokens", s.Tokens.Output))
	add(s.Tokens.CacheRead > 0, slog.Int64("cache_read_tokens", s.Tokens.CacheRead))
	add(s.Tokens.CacheWrite() > 0, slog.Int64("cache_write_tokens", s.Tokens.CacheWrite()))
	add(s.Priced, slog.String("cost_usd", formatDecimal(s.Cost)))
	add(true, slog.Int("in_flight", s.InFlight))
	add(s.Why != "", slog.Int("waiting", s.Waiting))
	add(s.Why != "", slog.String("waiting_for", s.Why))
	add(s.BoundBy != "", slog.String("bound_by", s.BoundBy))
	add(s.Phase != "", slog.String("phase", s.Phase))
	return attrs
}

// Write writes whole lines above the progress lines; it is the sink for logs.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.shown) == 0 {
		return p.out.Write(b)
	}
	text := p.home() + "\x1b[J" + string(b)
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if _, err := io.WriteString(p.out, text+p.frame); err != nil {
		return 0, err
	}
	return len(b), nil
}

// draw shows a snapshot in place of the one before. The frame goes out in one write that covers old text with new and
// clears only what is left of it, so it does not flicker; the cursor is never hidden, so that a killed process leaves
// a terminal that works.
func (p *progress) draw(s snapshot, rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The last column stays free: a cursor that waits there to wrap is treated differently by every terminal.
	shown, painted := render(s, rate, p.width()-1, p.style)
	frame := strings.Join(painted, "\x1b[K\r\n") + "\x1b[J"
	if frame == p.frame {
		return
	}
	_, _ = io.WriteString(p.out, p.home()+frame) // a terminal that has gone must not end the run
	p.shown, p.frame = shown, frame
}

func (p *progress) erase() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.shown) > 0 {
		_, _ = io.WriteString(p.out, p.home()+"\x1b[J")
	}
	p.shown, p.frame = nil, ""
}

// home moves the cursor to the start of the first line shown. A terminal that has become narrower has wrapped them.
func (p *progress) home() string {
	rows := 0
	for _, line := range p.shown {
		rows += max(1, (cells(line)+p.width()-1)/p.width())
	}
	return "\r" + strings.Repeat("\x1b[A", max(0, rows-1))
}
