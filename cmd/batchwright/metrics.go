package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
)

const (
	metricsPath = "/metrics"
	// metricsGrace bounds how long the end of the process waits for a scrape that is under way.
	metricsGrace = 2 * time.Second
	// scrapeWithin bounds one scrape; Prometheus itself gives up after 10 s.
	scrapeWithin = 10 * time.Second
	// longestLabel bounds label values. Names of jobs and classes of models are shorter.
	longestLabel = 200
)

// metricsServer serves what a process counts, in Prometheus' format, for as long as the process runs. What it serves holds
// no prompt, answer, credential or error text. Without an address it does nothing.
type metricsServer struct {
	address   string // of --metrics
	listening string // the same, with the port that was picked
	registry  *prometheus.Registry
	server    *http.Server
	ended     chan struct{}
}

func (m *metricsServer) add(flags *pflag.FlagSet) {
	flags.StringVar(&m.address, "metrics", "", "serve metrics for Prometheus at http://`ADDR`"+metricsPath+
		" while the process runs, as 127.0.0.1:9090, or :9090 for all interfaces; whoever reaches it can read them; no health check")
}

// listen begins to serve. An address that can't be listened on is a usage error.
func (m *metricsServer) listen(ctx context.Context) error {
	if m.address == "" {
		return nil
	}
	if err := checkListenAddress(m.address); err != nil {
		return usageError(fmt.Errorf("--metrics %q: %w", m.address, err))
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", m.address)
	if err != nil {
		return usageError(fmt.Errorf("--metrics %q: %w", m.address, err))
	}
	m.listening, m.registry = listener.Addr().String(), prometheus.NewRegistry()
	m.registry.MustRegister(buildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// A scraper that goes away in the middle is everyday; promhttp_metric_handler_errors_total counts what went wrong.
	quiet := slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, ErrorLog: quiet, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: scrapeWithin,
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		// Whoever looks for a health check reads why there is none.
		http.Error(w, "batchwright serves "+metricsPath+" here and nothing else: it has no health check, on purpose "+
			"(docs/operations.md, docs/adr/0010)", http.StatusNotFound)
	})
	m.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: scrapeWithin, ReadTimeout: scrapeWithin, WriteTimeout: 2 * scrapeWithin,
		IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: quiet,
	}
	m.ended = make(chan struct{})
	go func() {
		defer close(m.ended)
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.WarnContext(ctx, "metrics are served no more", slog.Any("error", err))
		}
	}()
	slog.InfoContext(ctx, "serving metrics", slog.String("url", "http://"+m.listening+metricsPath))
	return nil
}

// checkListenAddress says what is wrong with an address to listen on.
func checkListenAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("write it as HOST:PORT or :PORT, as in 127.0.0.1:9090; port 0 picks a free one")
	}
	return nil
}

// also serves what a collector tells, from now on.
func (m *metricsServer) also(c prometheus.Collector) {
	if m.registry != nil {
		m.registry.MustRegister(c)
	}
}

// close ends the server, at the latest after metricsGrace.
func (m *metricsServer) close(ctx context.Context) {
	if m.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), metricsGrace)
	defer cancel()
	if m.server.Shutdown(ctx) != nil {
		_ = m.server.Close() // the process ends
	}
	<-m.ended
}

// buildInfo says which program it is.
func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "batchwright_build_info",
		Help:        "Always 1; its labels say which version of batchwright runs here. Two versions at once: a rolling update is under way, or was left half done.",
		ConstLabels: prometheus.Labels{"version": labelOf(version()), "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}

// family is one metric with its labels.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

// of is the metric at this moment, with the values of its labels in their order.
func (f family) of(value float64, labels ...string) prometheus.Metric {
	for i := range labels {
		labels[i] = labelOf(labels[i])
	}
	m, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return m
}

// labelOf makes a label value of a text that may come from elsewhere.
func labelOf(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), longestLabel)], "")
}

// truth is a condition as a metric has it.
func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
