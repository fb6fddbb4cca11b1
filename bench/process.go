package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// credential is what both sides send; the simulator accepts any.
const credential = "bench"

// bench holds what the measurements share.
type bench struct {
	binary  string
	scratch string
}

// outcome is what one process took and wrote. Peak memory includes the moment of its start, when it still was this
// program: so nothing large may be kept here.
type outcome struct {
	took      time.Duration
	peakBytes int64
	answers   answers
}

// runJob runs the job in folder as a person would, from nothing, and checks that each record was answered.
func (b *bench) runJob(ctx context.Context, folder, baseURL string) (outcome, error) {
	command := exec.CommandContext(ctx, b.binary, "run", filepath.Join(folder, "job.yaml"), "--quiet", "--yes") //nolint:gosec // the program to measure
	command.Env = append(os.Environ(), "ANTHROPIC_BASE_URL="+baseURL, "ANTHROPIC_API_KEY="+credential, "BATCHWRIGHT_STATE=", "BATCHWRIGHT_REDIS=")
	result, err := timed(command, folder)
	if err != nil {
		return result, err
	}
	return result, os.RemoveAll(filepath.Join(folder, ".batchwright"))
}

// runBareLoop does the same work with the bare loop, in a process of its own.
func (b *bench) runBareLoop(ctx context.Context, folder, baseURL string) (outcome, error) {
	self, err := os.Executable()
	if err != nil {
		return outcome{}, fmt.Errorf("find this program: %w", err)
	}
	command := exec.CommandContext(ctx, self, "bare-loop", //nolint:gosec // this program again
		filepath.Join(folder, inputName), filepath.Join(folder, outputName), baseURL)
	return timed(command, folder)
}

// timed runs the command to its end and reads what it wrote to the folder's output, which it removes.
func timed(command *exec.Cmd, folder string) (outcome, error) {
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	begin := time.Now()
	err := command.Run()
	result := outcome{took: time.Since(begin)}
	if err != nil {
		return result, fmt.Errorf("run %s: %w\n%s", filepath.Base(command.Path), err, said.Bytes())
	}
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		result.peakBytes = usage.Maxrss
		if runtime.GOOS == "linux" {
			result.peakBytes *= 1024 // getrusage(2): kilobytes there, bytes on macOS
		}
	}
	output := filepath.Join(folder, outputName)
	if result.answers, err = readAnswers(output); err != nil {
		return result, err
	}
	return result, os.Remove(output)
}

// simulatorProcess is a running `batchwright simulate`.
type simulatorProcess struct {
	url     string
	command *exec.Cmd
}

// startSimulator starts a simulator with flags. It listens before it prints its address, so it is ready then.
func (b *bench) startSimulator(ctx context.Context, flags ...string) (*simulatorProcess, error) {
	arguments := append([]string{"simulate", "--addr", "127.0.0.1:0"}, flags...)
	command := exec.CommandContext(ctx, b.binary, arguments...) //nolint:gosec // the program to measure
	var said bytes.Buffer
	command.Stderr = &said
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start simulator: %w", err)
	}
	started := &simulatorProcess{command: command}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		started.stop()
		return nil, fmt.Errorf("read address of simulator: %w\n%s", err, said.Bytes())
	}
	started.url = strings.TrimSpace(line)
	return started, nil
}

func (s *simulatorProcess) stop() {
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}

// answered asks the simulator how many calls it has answered.
func (s *simulatorProcess) answered(ctx context.Context) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/simulator/stats", nil)
	if err != nil {
		return 0, fmt.Errorf("ask simulator: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask simulator: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	var stats struct {
		Answered float64 `json:"answered"`
	}
	if err := json.NewDecoder(response.Body).Decode(&stats); err != nil {
		return 0, fmt.Errorf("ask simulator: %w", err)
	}
	return stats.Answered, nil
}

// watchFor sends the moment of each line that has a text in it, until r ends.
func watchFor(r io.Reader, text string) <-chan time.Time {
	found := make(chan time.Time, 16)
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				found <- time.Now()
			}
		}
	}()
	return found
}

// spy passes calls on and notes when the first one came.
type spy struct {
	url    string
	server *http.Server
	done   chan struct{}
	once   sync.Once
	first  time.Time
}

func startSpy(ctx context.Context, target string) (*spy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("parse address of simulator: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &spy{url: "http://" + listener.Addr().String(), done: make(chan struct{})}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	s.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/messages" {
			s.once.Do(func() { s.first = time.Now() })
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "bench: pass calls on:", err)
		}
	}()
	return s, nil
}

// stop closes the server and returns when the first call came; the zero time when none did.
func (s *spy) stop() time.Time {
	_ = s.server.Close()
	<-s.done
	s.once.Do(func() {}) // orders the read after a handler's write
	return s.first
}
