// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// The limits of a server (invariant 2).
const (
	// MaxConnections and MaxPerSource are the limits on open connections, in total and from one source address.
	MaxConnections = 64
	MaxPerSource   = 16
	// MaxHeaderBytes has room for the longest token: one with hundreds of groups has less than 10 KB.
	MaxHeaderBytes = 32 << 10
	// ReadTimeout is the maximum time for a request to arrive, and for a TLS handshake.
	ReadTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second
	// idleTimeout is longer than the usual interval of scrapes.
	idleTimeout = 90 * time.Second
	// shutdownTimeout is the time for requests to end when the server stops.
	shutdownTimeout = time.Second
	// maxScrapes is the number of requests for metrics that are answered in parallel.
	maxScrapes = 4
)

// MetricsPath is the path of the metrics on both servers.
const MetricsPath = "/metrics"

// Options configure a server.
type Options struct {
	// Address is the listen address, such as [PageAddress]. Required.
	Address string
	// Certificate and Filter secure the server: HTTPS, for clients that the API server authorizes. Both or none.
	// Default: plain HTTP, for every client that can connect.
	Certificate *Certificate
	Filter      *Filter
	// Logger is the logger. Required.
	Logger logr.Logger
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// Server serves the metrics or the node page.
type Server struct {
	name    string
	opts    Options
	mux     *http.ServeMux
	handler http.Handler
}

// NewMetrics returns a server of metrics. If it is secured, clients need the right to get [MetricsPath].
func NewMetrics(o Options, metrics prometheus.Gatherer) (*Server, error) {
	s, err := newServer("metrics", o)
	if err != nil {
		return nil, err
	}
	s.handle(MetricsPath, MetricsPath, metricsHandler(metrics))
	return s, nil
}

func metricsHandler(metrics prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

func newServer(name string, o Options) (*Server, error) {
	if (o.Certificate == nil) != (o.Filter == nil) {
		return nil, fmt.Errorf("serving the %s on %s: HTTPS needs both a certificate and a filter", name, o.Address)
	}
	mux := http.NewServeMux()
	return &Server{name: name, opts: o, mux: mux, handler: withHeaders(onlySameSite(mux))}, nil
}

// handle serves GET and HEAD requests for a path. granted is the path in RBAC rules. Other requests get 404 or 405
// without a review.
func (s *Server) handle(path, granted string, handler http.Handler) {
	if s.opts.Filter != nil {
		handler = s.opts.Filter.Protect(granted, handler)
	}
	if path == "/" {
		path = "/{$}" // only itself
	}
	s.mux.Handle("GET "+path, handler)
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mark(r, func(c *connection) { c.serving = true })
	defer mark(r, func(c *connection) { c.serving = false })
	defer s.logPanic()
	s.handler.ServeHTTP(w, r)
}

// logPanic logs a panic as an error. The HTTP server would log it like an event that clients cause.
func (s *Server) logPanic() {
	if fault := recover(); fault != nil {
		s.opts.Logger.Error(fmt.Errorf("panic: %v", fault), "Serving a request failed", "stack", string(debug.Stack()))
		panic(http.ErrAbortHandler)
	}
}

// Start serves until the context ends. It returns an error if the address cannot be listened on.
func (s *Server) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Address)
	if err != nil {
		return fmt.Errorf("serving the %s: %w", s.name, err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(logf.IntoContext(ctx, s.opts.Logger))
	defer cancel()
	listener = &boundedListener{Listener: listener}
	if s.opts.Certificate != nil {
		listener = tls.NewListener(listener, s.opts.Certificate.TLSConfig())
	}
	server := &http.Server{
		Handler:        s,
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnContext:    withConnection,
		MaxHeaderBytes: MaxHeaderBytes,
		ReadTimeout:    ReadTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		ErrorLog:       log.New(newClientLog(s.opts.Logger), "", 0),
	}
	defer server.Close() //nolint:errcheck // there is nothing left to do about it
	return (&manager.Server{
		Name: s.name, Server: server, Listener: listener, ShutdownTimeout: new(shutdownTimeout),
	}).Start(ctx)
}

// clientLog is the log for events that clients cause. It limits debug messages, because any client can cause any
// number.
type clientLog struct {
	logr.Logger
	limiter *rate.Limiter
}

func newClientLog(logger logr.Logger) clientLog { return clientLog{logger, rate.NewLimiter(1, 10)} }

func (l clientLog) debug(message string, keysAndValues ...any) {
	if l.limiter.Allow() {
		l.V(1).Info(message, keysAndValues...)
	}
}

// Write logs a message of the HTTP server about a connection, such as a failed TLS handshake.
func (l clientLog) Write(line []byte) (int, error) {
	l.debug("Serving a connection failed", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}
