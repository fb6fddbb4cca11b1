package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/worker/simulator"
)

func listen(t *testing.T, options simulator.Options) *simulator.Server {
	t.Helper()
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Close(); err != nil {
			t.Error(err)
		}
	})
	return api
}

// The peer does its work: without limits it answers every record with one call, as many at once as it says.
func TestSDKLoopAnswersAll(t *testing.T) {
	t.Parallel()
	api := listen(t, simulator.Options{Record: true, Latency: 20 * time.Millisecond})
	answered, lost, err := sdkLoop(t.Context(), api.URL, slices.Collect(bases()[0].workload.records(100)), 8)
	if err != nil {
		t.Fatal(err)
	}
	got := api.Stats()
	if answered != 100 || lost != 0 || got.Calls != 100 || got.Answered != 100 || got.Repeated != 0 || got.MaxInFlight > 8 || got.MaxInFlight < 4 {
		t.Errorf("%d answered, %d lost, %+v", answered, lost, got)
	}
}

// It is the SDK with its own two retries: a record that is refused each time takes three calls, and is lost.
func TestSDKLoopLosesWhatIsRefusedThreeTimes(t *testing.T) {
	t.Parallel()
	api := listen(t, simulator.Options{Errors: simulator.Faults{{Kind: "503", Share: 1}}})
	answered, lost, err := sdkLoop(t.Context(), api.URL, slices.Collect(bases()[0].workload.records(4)), 4)
	if err != nil {
		t.Fatal(err)
	}
	if got := api.Stats(); answered != 0 || lost != 4 || got.Calls != 12 {
		t.Errorf("%d answered, %d lost, %+v", answered, lost, got)
	}
}

func TestSDKLoopEndsWithItsContext(t *testing.T) {
	t.Parallel()
	api := listen(t, simulator.Options{Hang: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := sdkLoop(ctx, api.URL, slices.Collect(bases()[0].workload.records(4)), 2); err == nil {
		t.Error("no error")
	}
}

// The other user's calls and refusals are counted as the simulator counts them.
func TestOtherUser(t *testing.T) {
	t.Parallel()
	api := listen(t, simulator.Options{RequestsPerMinute: 60, Burst: 5 * time.Second})
	other := newOtherUser(api.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	other.run(ctx, 200)
	got := api.Stats()
	if got.Calls < 20 || other.calls.Load() != got.Calls || other.refused.Load() != got.Refused || got.Refused != got.ByStatus[http.StatusTooManyRequests] {
		t.Errorf("%d calls and %d refused, the simulator counts %+v", other.calls.Load(), other.refused.Load(), got)
	}
	if got.Admitted != 5 {
		t.Errorf("%d admitted, want the burst of 5", got.Admitted)
	}
}

func TestCountOutcomes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), outputName)
	text := `{"id":"a","response":"x","_status":"succeeded"}` + "\n" + `{"id":"b","response":null,"_status":"failed"}` + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if answered, lost, err := countOutcomes(path); answered != 1 || lost != 1 || err != nil {
		t.Errorf("%d, %d, %v", answered, lost, err)
	}
}

func TestPeersTable(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	err := writePeersTable(&got, []peerFigure{{quota: 3000, who: "a loop", answered: 60, lost: 40, calls: 200, refused: 50, took: 1500 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	want := `| quota | who | records answered | records lost | calls | refused | time |
|---|---|---|---|---|---|---|
| 3000/min | a loop | 60 | 40 (40.0 %) | 200 | 50 (25.0 %) | 1.5 s |

`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
