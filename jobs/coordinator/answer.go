package coordinator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

const (
	// MaxAsked is how many records may be asked of a run on another machine at once.
	MaxAsked = 1000
	// maxAnswer bounds the records that an answer holds in all, in bytes: it goes through the memory of Redis.
	maxAnswer = 16 << 20
	// answerPiece is about how many bytes travel together.
	answerPiece = 256 << 10
	// askedEvery is how often a coordinator looks for questions.
	askedEvery = 500 * time.Millisecond
)

// query is a question about a run, whose records lie with its coordinator alone.
type query struct {
	Overview bool      `json:"overview,omitempty"`
	Records  Selection `json:"records"`
}

// reply is a line of the answer: one of its members.
type reply struct {
	Overview *Overview    `json:"overview,omitempty"`
	Dir      string       `json:"dir,omitempty"` // with Overview: the state folder
	Record   *shownRecord `json:"record,omitempty"`
	End      *replyEnd    `json:"end,omitempty"`
}

// shownRecord is how a Shown travels.
type shownRecord struct {
	Result  json.RawMessage `json:"result"` // as in a journal
	Request json.RawMessage `json:"request,omitempty"`
	Note    string          `json:"note,omitempty"`
}

// replyEnd is the last line.
type replyEnd struct {
	Found int    `json:"found"`
	Error string `json:"error,omitempty"`
}

// AskOverview has the coordinator of a run tell where it stands, and in which folder of its machine its state lies.
// Errors are those of courier.Ask.
func AskOverview(ctx context.Context, rdb redis.UniversalClient, cipher *courier.Cipher, run string) (o Overview, dir string, err error) {
	_, err = ask(ctx, rdb, cipher, run, query{Overview: true}, func(r *reply) error {
		if r.Overview != nil {
			o, dir = *r.Overview, r.Dir
		}
		return nil
	})
	if err == nil && o.Manifest == nil {
		err = errors.New("the coordinator has told nothing")
	}
	return o, dir, err
}

// AskRecords has the coordinator of a run show the records that a selection names, MaxAsked at most, calls fn for each
// in their order and reports how many there were. Errors are those of courier.Ask.
func AskRecords(ctx context.Context, rdb redis.UniversalClient, cipher *courier.Cipher, run string, s Selection, fn func(Shown) error) (int, error) {
	return ask(ctx, rdb, cipher, run, query{Records: s}, func(r *reply) error {
		if r.Record == nil {
			return nil
		}
		result, err := jobs.ParseResult(r.Record.Result)
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		return fn(Shown{Result: result, Request: r.Record.Request, Note: r.Record.Note})
	})
}

func ask(ctx context.Context, rdb redis.UniversalClient, cipher *courier.Cipher, run string, q query, fn func(*reply) error) (found int, err error) {
	text, err := json.Marshal(q)
	if err != nil {
		return 0, fmt.Errorf("encode question: %w", err)
	}
	err = courier.Ask(ctx, rdb, cipher, run, text, func(piece []byte) error {
		for line := range bytes.Lines(piece) {
			var r reply
			if err := json.Unmarshal(line, &r); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			if r.End != nil {
				found = r.End.Found
				if r.End.Error != "" {
					return fmt.Errorf("the coordinator of run %s: %s", run, r.End.Error)
				}
			}
			if err := fn(&r); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// answer answers what is asked of the run from other machines, one question at a time. Nothing that fails with it keeps
// the run from going on.
func (r *Run) answer(ctx context.Context) error {
	if r.embedded {
		return nil // who reaches its Redis reaches its state folder
	}
	tick := time.NewTicker(askedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		q, err := r.owner.Asked(ctx)
		if q == nil || err != nil {
			continue // the renewal of the lease says that Redis is away
		}
		if err := r.reply(ctx, q); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "answer a question about the run", slog.Any("error", err))
		}
	}
}

// reply answers one question within its time.
func (r *Run) reply(ctx context.Context, q *courier.Question) error {
	ctx, cancel := context.WithDeadline(ctx, q.Deadline())
	defer cancel()
	a := &answer{owner: r.owner, question: q}
	found, err := r.tell(ctx, q, a)
	end := &replyEnd{Found: found}
	if err != nil {
		end.Error = err.Error()
	}
	if err := a.add(ctx, reply{End: end}); err != nil {
		return err
	}
	return a.send(ctx, true)
}

// tell reads the answer to a question from the state folder, as another process would.
func (r *Run) tell(ctx context.Context, q *courier.Question, a *answer) (found int, err error) {
	var asked query
	if err := json.Unmarshal(q.Text, &asked); err != nil {
		return 0, fmt.Errorf("read question: %w", err)
	}
	results, err := OpenResults(r.state)
	if err != nil {
		return 0, err
	}
	if asked.Overview {
		o, err := results.Overview()
		if err != nil {
			return 0, err
		}
		o.Manifest.Definition, o.Manifest.RequestSource = Definition{}, "" // long, and nobody asked
		dir, err := filepath.Abs(r.state.Dir)
		if err != nil {
			return 0, fmt.Errorf("find state folder: %w", err)
		}
		return 0, a.add(ctx, reply{Overview: &o, Dir: dir})
	}
	asked.Records.Most = min(asked.Records.Most, MaxAsked)
	note := ""
	input, err := results.Input(ctx, r.job)
	if err != nil {
		input, note = nil, "not shown: "+err.Error()
	}
	return results.Select(ctx, asked.Records, input, note, r.job, func(s Shown) error {
		return a.add(ctx, reply{Record: &shownRecord{jobs.AppendResult(nil, &s.Result), s.Request, s.Note}})
	})
}

// answer collects the lines of an answer and sends them piece by piece.
type answer struct {
	owner    *courier.Owner
	question *courier.Question
	lines    []byte
	bytes    int // of all records
}

func (a *answer) add(ctx context.Context, r reply) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	if r.End == nil {
		if a.bytes += len(line); a.bytes > maxAnswer {
			return fmt.Errorf("the records have more than %d MiB: ask for fewer of them, or on the coordinator's machine", maxAnswer>>20)
		}
	}
	a.lines = append(append(a.lines, line...), '\n')
	if len(a.lines) < answerPiece {
		return nil
	}
	return a.send(ctx, false)
}

func (a *answer) send(ctx context.Context, last bool) error {
	err := a.owner.Answer(ctx, a.question, a.lines, last)
	a.lines = a.lines[:0]
	return err
}
