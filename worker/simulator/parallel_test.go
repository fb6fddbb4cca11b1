package simulator_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

func TestParallelQueuesInOrder(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"document": plainBody, "stream": with(`"stream":true`)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := simulator.New(simulator.Options{Latency: time.Second, Parallel: 2})
				start := time.Now()
				ended := make([]time.Duration, 6)
				var calls sync.WaitGroup
				for i := range ended {
					calls.Go(func() {
						if w := send(t, s, body); w.Code != http.StatusOK {
							t.Errorf("got %d", w.Code)
						}
						ended[i] = time.Since(start)
					})
					synctest.Wait() // they come one after the other
				}
				calls.Wait()
				for i, at := range ended {
					if want := time.Duration(i/2+1) * time.Second; at != want {
						t.Errorf("call %d ended after %v, want %v", i, at, want)
					}
				}
			})
		})
	}
}

// A client that leaves the queue is not worked for, and holds nobody up.
func TestParallelClientLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{Latency: time.Second, Parallel: 1})
		start := time.Now()
		ctx, leave := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		calls.Go(func() { send(t, s, plainBody) })
		synctest.Wait()
		calls.Go(func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Error("the call of a client that left has an answer")
				}
			}()
			s.ServeHTTP(httptest.NewRecorder(), newRequest(ctx, "/v1/messages", plainBody))
		})
		synctest.Wait()
		calls.Go(func() { send(t, s, plainBody) })
		synctest.Wait()
		leave()
		calls.Wait()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("two calls took %v", took)
		}
		if got := s.Stats(); got.Answered != 2 || got.Abandoned != 1 || got.InFlight != 0 {
			t.Errorf("got %+v", got)
		}
	})
}
