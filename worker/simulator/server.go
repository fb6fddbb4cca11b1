package simulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a simulator that listens on an address of this machine.
type Server struct {
	*Simulator
	// URL is the base URL to give to clients, as "http://127.0.0.1:8787".
	URL    string
	http   *http.Server
	served func() error // waits for Serve to end and gives what it returned
	open   sync.WaitGroup
}

// Listen starts a simulator on an address (host:port; port 0 picks a free one). The caller closes it:
// the end of ctx, which bounds the start alone, does not.
func Listen(ctx context.Context, addr string, options Options) (*Server, error) {
	if err := options.Validate(); err != nil {
		return nil, fmt.Errorf("check simulator options: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the simulator: %w", err)
	}
	server := &Server{
		Simulator: New(options),
		URL:       "http://" + listener.Addr().String(),
	}
	server.http = &http.Server{
		Handler:           server.Simulator,
		ReadHeaderTimeout: time.Minute,
		ConnState:         server.track,
	}
	served := make(chan error, 1)
	go func() { served <- server.http.Serve(listener) }()
	server.served = sync.OnceValue(func() error { return <-served })
	return server, nil
}

// track counts the open connections. New ones are counted by the goroutine of Serve, so that none comes after its end.
func (s *Server) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Done()
	default: // still open
	}
}

// Close breaks the calls that are open, and waits until all have ended.
func (s *Server) Close() error {
	err := s.http.Close()
	if served := s.served(); !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	s.open.Wait()
	if err != nil {
		return fmt.Errorf("close simulator: %w", err)
	}
	return nil
}
