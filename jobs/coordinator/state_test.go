package coordinator_test

import (
	"strings"
	"testing"

	"github.com/batchwright/batchwright/jobs/coordinator"
)

// A process that has the lock and has not yet written who it is has no number to be named by.
func TestHeldByUnknown(t *testing.T) {
	t.Parallel()
	if text := (&coordinator.HeldError{}).Error(); strings.Contains(text, "process 0") || !strings.Contains(text, "--wait-lock") {
		t.Errorf("holder unknown: %q", text)
	}
}
