package main

import (
	"errors"
	"strings"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
)

// The exit codes, a promise to scripts.
const (
	exitComplete     = 0
	exitFailed       = 1
	exitUsage        = 2
	exitManyFailures = 3
	exitBlocked      = 4
	exitOwned        = 5
	exitChanged      = 6
	exitOutOfTime    = 7
	exitInterrupted  = 130
	exitTerminated   = 143
)

// exitError ends the process with a code, and with a message unless err is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{exitUsage, err} }

func isUnknownCommand(err error) bool { return strings.HasPrefix(err.Error(), "unknown command") }

// exitCodeOf maps an error to the exit code that tells a script what kind it is.
func exitCodeOf(err error) int {
	var usage *coordinator.UsageError
	var bad *coordinator.BadInputError
	var held *coordinator.HeldError
	var changed *coordinator.ChangedError
	switch {
	case errors.As(err, &usage), errors.As(err, &bad):
		return exitUsage
	case errors.As(err, &held), errors.Is(err, courier.ErrOwned), errors.Is(err, courier.ErrFenced):
		return exitOwned
	case errors.As(err, &changed):
		return exitChanged
	case isUnknownCommand(err), strings.Contains(err.Error(), "arg(s)"):
		return exitUsage // cobra has no type for these
	}
	return exitFailed
}
