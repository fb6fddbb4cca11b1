//go:build crashtest

// Package crashpoint lets a test kill the process at a chosen step. It does nothing in a normal build.
package crashpoint

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable names the step at which the process is to kill itself, and at which time of reaching it: "journaled:3".
const Variable = "BATCHWRIGHT_CRASH_AT"

var (
	step  string
	count atomic.Int64
)

var at = func() int64 {
	var times string
	step, times, _ = strings.Cut(os.Getenv(Variable), ":")
	n := int64(1)
	if times != "" {
		if _, err := fmt.Sscan(times, &n); err != nil {
			panic(err)
		}
	}
	return n
}()

// Reach marks a step, and kills the process when it is the chosen one.
func Reach(name string) {
	if name == step && count.Add(1) == at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal has arrived
	}
}
