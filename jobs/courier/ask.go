package courier

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// answerLife is how long Redis keeps any of an answer at most, and a question that nobody takes.
	answerLife = time.Minute
	// answerPatience is how long who asked waits for the next piece. All of an answer is there or gone by then.
	answerPatience = answerLife + 10*time.Second
	// maxQuestions bounds those that wait; the oldest are dropped.
	maxQuestions = 64
)

// Question is what somebody on another machine asks of a run's coordinator.
type Question struct {
	// Text is in the words of who asks and who answers.
	Text json.RawMessage
	id   string // names the list of the answer's pieces
	next Number // of them
	due  time.Time
}

// Deadline is when an answer must be complete: Redis then forgets what there is of it.
func (q *Question) Deadline() time.Time { return q.due }

// Asked takes the next question about the run; nil when there is none. One that can't be read, of another version or
// under another key, is dropped: who asked is told by the terms. The error is Redis'.
func (o *Owner) Asked(ctx context.Context) (*Question, error) {
	for {
		sealed, err := o.rdb.LPop(ctx, o.keys.asks()).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil, nil //nolint:nilnil // nobody asks, and nothing is wrong
		}
		if err != nil {
			return nil, fmt.Errorf("look for questions: %w", err)
		}
		if q, err := parseQuestion(sealed, o.cipher, o.keys.run); err == nil {
			q.due = time.Now().Add(answerLife)
			return q, nil
		}
	}
}

// Answer sends the next piece of an answer, of some bytes; the last one ends it.
func (o *Owner) Answer(ctx context.Context, q *Question, piece []byte, last bool) error {
	left := time.Until(q.due)
	if left < time.Millisecond {
		return fmt.Errorf("send answer: %w", context.DeadlineExceeded)
	}
	key := o.keys.answer(q.id)
	o.mu.Lock()
	if q.next == 0 {
		o.answers = append(o.answers, key)
		o.answers = o.answers[max(0, len(o.answers)-maxQuestions):]
	}
	o.mu.Unlock()
	sealed := sealPiece(piece, last, q.next, q.id, o.cipher, o.keys.run)
	q.next++
	// At once, so that no piece is ever there without its end of life.
	_, err := o.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, key, sealed)
		p.PExpire(ctx, key, left)
		return nil
	})
	if err != nil {
		return fmt.Errorf("send answer: %w", err)
	}
	return nil
}

// Ask asks the coordinator of a run and calls fn with each piece of the answer, in order. Errors: ErrNoRun when the run
// has no coordinator or loses it meanwhile, ErrFormat when it is another version's or encrypted with another key,
// whatever fn returns, and Redis'.
func Ask(ctx context.Context, rdb redis.UniversalClient, cipher *Cipher, run string, text json.RawMessage, fn func(piece []byte) error) error {
	k := keys{run}
	if err := mayAsk(ctx, rdb, cipher, k); err != nil {
		return err
	}
	id := rand.Text()
	_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, k.asks(), sealQuestion(id, text, cipher, run))
		p.LTrim(ctx, k.asks(), -maxQuestions, -1)
		p.PExpire(ctx, k.asks(), answerLife)
		return nil
	})
	if err != nil {
		return fmt.Errorf("ask coordinator of run %s: %w", run, err)
	}
	// What was not read is nobody's any more.
	defer rdb.Del(context.WithoutCancel(ctx), k.answer(id))
	heard := time.Now()
	for n := Number(0); ; {
		popped, err := rdb.BLPop(ctx, time.Second, k.answer(id)).Result()
		if errors.Is(err, redis.Nil) {
			if time.Since(heard) > answerPatience {
				return fmt.Errorf("the coordinator of run %s has not answered for %s: ask again", run, answerPatience)
			}
			if err := mayAsk(ctx, rdb, cipher, k); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read answer of run %s: %w", run, err)
		}
		heard = time.Now()
		piece, last, err := parsePiece([]byte(popped[1]), n, id, cipher, run)
		if err != nil {
			return fmt.Errorf("read answer of run %s: %w", run, err)
		}
		n++
		if err := fn(piece); err != nil || last {
			return err
		}
	}
}

// mayAsk reports whether there is a coordinator that would understand a question.
func mayAsk(ctx context.Context, rdb redis.UniversalClient, cipher *Cipher, k keys) error {
	terms, err := readTerms(ctx, rdb, k)
	if err != nil {
		return err
	}
	if terms.Key != cipher.Fingerprint() {
		return fmt.Errorf("%w: run %s is encrypted with another key, or not at all: give the same --encrypt-env as to its run",
			ErrFormat, k.run)
	}
	return nil
}

// asked is how a question travels.
type asked struct {
	ID   string          `json:"id"`
	Text json.RawMessage `json:"text"`
}

func sealQuestion(id string, text json.RawMessage, cipher *Cipher, run string) []byte {
	encoded, err := json.Marshal(asked{id, text})
	if err != nil {
		panic(err) // the caller's text is JSON
	}
	return cipher.seal(seal(encoded), purposeQuestion, run, 0)
}

func parseQuestion(sealed []byte, cipher *Cipher, run string) (*Question, error) {
	plain, err := cipher.open(sealed, purposeQuestion, run, 0)
	if err != nil {
		return nil, err
	}
	encoded, err := unseal(plain)
	if err != nil {
		return nil, err
	}
	var a asked
	if err := json.Unmarshal(encoded, &a); err != nil {
		return nil, fmt.Errorf("%w: question: %w", ErrFormat, err)
	}
	if len(a.ID) != len(rand.Text()) {
		return nil, fmt.Errorf("%w: a question's id has %d characters", ErrFormat, len(a.ID))
	}
	return &Question{Text: a.Text, id: a.ID}, nil
}

// sealPiece encodes a piece of an answer: whether it is the last, and its bytes. Encrypted, it can be read as that piece of
// that answer alone.
func sealPiece(piece []byte, last bool, n Number, id string, cipher *Cipher, run string) []byte {
	raw := make([]byte, 1, 1+len(piece))
	if last {
		raw[0] = 1
	}
	return cipher.seal(seal(append(raw, piece...)), purposeAnswer+id, run, n)
}

func parsePiece(sealed []byte, n Number, id string, cipher *Cipher, run string) (piece []byte, last bool, err error) {
	plain, err := cipher.open(sealed, purposeAnswer+id, run, n)
	if err != nil {
		return nil, false, err
	}
	raw, err := unseal(plain)
	if err != nil {
		return nil, false, err
	}
	if len(raw) == 0 {
		return nil, false, fmt.Errorf("%w: an empty piece", ErrFormat)
	}
	return raw[1:], raw[0] == 1, nil
}
