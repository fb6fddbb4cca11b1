package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
)

// Errors of the protocol.
var (
	// ErrOwned says that another coordinator holds the run's lease.
	ErrOwned = errors.New("another coordinator owns the run")
	// ErrFenced says that another coordinator took the run over while this one was away.
	ErrFenced = errors.New("another coordinator took the run over")
	// ErrUnknown says that Redis could not be asked whether a hand-out is out: a worker may have it.
	ErrUnknown = errors.New("not known whether a worker has it")
	// ErrNoRun says that Redis holds no such run, or that it has no coordinator now.
	ErrNoRun = errors.New("no run with a coordinator")
	// ErrFormat says that what Redis holds was written by another version, under another key, or is damaged.
	ErrFormat = errors.New("unknown format")
)

// Terms tell workers how a run's calls are to be made. They hold no credential.
type Terms struct {
	Version     int           `json:"version"` // formatVersion
	BaseURL     string        `json:"base_url"`
	APIVersion  string        `json:"api_version"`
	Beta        []string      `json:"beta,omitempty"`
	Stream      bool          `json:"stream,omitempty"`
	Timeout     time.Duration `json:"timeout_ns"`
	MaxAttempts int           `json:"max_attempts"`
	// Limits are the job's own bounds, for all workers together.
	Limits jobs.Limits `json:"limits"`
	// Epoch is that of the coordinator that wrote the terms.
	Epoch uint32 `json:"epoch"`
	// Key is the fingerprint of the key that hand-outs and results are encrypted with; empty when they are not.
	Key string `json:"key,omitempty"`
}

// ReadTerms reads the terms of a run. ErrNoRun when it has no coordinator now, ErrFormat when they are another version's.
func ReadTerms(ctx context.Context, rdb redis.UniversalClient, run string) (Terms, error) {
	return readTerms(ctx, rdb, keys{run})
}

func readTerms(ctx context.Context, rdb redis.UniversalClient, k keys) (Terms, error) {
	values, err := rdb.MGet(ctx, k.terms(), k.owner()).Result()
	if err != nil {
		return Terms{}, fmt.Errorf("read terms of run %s: %w", k.run, err)
	}
	encoded, found := values[0].(string)
	if !found || values[1] == nil {
		return Terms{}, fmt.Errorf("%w: %s", ErrNoRun, k.run)
	}
	return parseTerms(encoded, k.run)
}

func parseTerms(encoded, run string) (terms Terms, err error) {
	if err := json.Unmarshal([]byte(encoded), &terms); err != nil || terms.Version != formatVersion {
		return Terms{}, fmt.Errorf("%w: terms of run %s", ErrFormat, run)
	}
	return terms, nil
}
