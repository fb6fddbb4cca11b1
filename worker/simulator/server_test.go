package simulator

import (
	"net/http"
	"runtime"
	"testing"
)

func TestCloseWaitsForConnections(t *testing.T) {
	t.Parallel()
	server, err := Listen(t.Context(), "127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	server.track(nil, http.StateNew)
	go func() {
		for range 1000 {
			runtime.Gosched()
		}
		close(ended)
		server.track(nil, http.StateClosed)
	}()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("Close came back while a connection was open")
	}
}
