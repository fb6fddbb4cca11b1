package courier_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine of an owner, a session or an embedded Redis outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
