// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/nodestatus"
)

// PageAddress is where the page is served unless something else is configured.
const PageAddress = "127.0.0.1:9473"

// The bounds of what is served at a time, and of how long a request may take to arrive (invariant 10).
const (
	MaxConnections = 64
	MaxStreams     = 8
	maxDocuments   = 2
	ReadTimeout    = 5 * time.Second
)

// Authorized is what comes before a path when the API server is asked whether a client may get it. Everybody whom a
// cluster knows may get /api/* (the role system:discovery), and /flagz is a page of the API server too.
const Authorized = "/hnsguard"

// Board is what the page shows.
type Board interface {
	Document() nodestatus.Document
	Beat() nodestatus.Beat
	// Replaced returns a channel that is closed when there is something new.
	Replaced() <-chan struct{}
}

// Options configure a server.
type Options struct {
	// Address is where to listen, such as [PageAddress]. Required.
	Address string
	// Board is what is shown. Required.
	Board Board
	// Metrics are the agent's, served beside the page for whoever may see it: a bundle records them also where a scraper
	// needs a token.
	// Default: none.
	Metrics prometheus.Gatherer
	// Flags are the flags of the process and their values, for /flagz.
	// Default: none.
	Flags map[string]string
	// TLS and Protect secure an address that is not loopback: the certificate, and the filter that authorizes clients.
	// Default: plain HTTP, which only loopback may have.
	TLS     *tls.Config
	Protect func(http.Handler) (http.Handler, error)
	// Logger is the log. Required.
	Logger logr.Logger
	// Clock is the source of time. Required.
	Clock clock.Clock
	// Interval is the shortest time between two events of a stream, and Heartbeat the longest.
	// Default: one second, and 15.
	Interval, Heartbeat time.Duration
}

// Server serves the page.
type Server struct {
	opts      Options
	handler   http.Handler
	started   time.Time
	streams   chan struct{}
	documents chan struct{}
}

// New makes a server, or returns an error if the address may not be used (invariant 8).
func New(o Options) (*Server, error) {
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.Gatherers{}
	}
	s := &Server{
		opts: o, started: o.Clock.Now(),
		streams: make(chan struct{}, MaxStreams), documents: make(chan struct{}, maxDocuments),
	}
	handler := s.routes()
	switch {
	case o.TLS != nil && o.Protect != nil:
		protected, err := o.Protect(http.StripPrefix(Authorized, handler))
		if err != nil {
			return nil, fmt.Errorf("securing the node page: %w", err)
		}
		handler = below(Authorized, protected)
	case IsLoopback(o.Address):
		handler = onlyLoopback(handler)
	default:
		return nil, fmt.Errorf("the node page on %s: only a loopback address such as %s can be served without TLS and "+
			"authorization", o.Address, PageAddress)
	}
	s.handler = withHeaders(onlySameSite(handler))
	return s, nil
}

// IsLoopback reports whether only processes of the node can connect to an address with a port.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopbackHost(host)
}

// isLoopbackHost reports whether a host, without a port, is this machine whatever a name server says.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// retry is how soon to listen again if the address is in use. The agent before this one may be stopping.
const retry = 30 * time.Second

// Run serves until the context ends, and tries again if that fails (invariant 11).
func (s *Server) Run(ctx context.Context) {
	for {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		s.opts.Logger.Error(err, "Cannot serve the node page; will retry", "address", s.opts.Address, "retryIn", retry)
		select {
		case <-ctx.Done():
			return
		case <-s.opts.Clock.After(retry):
		}
	}
}

// shutdown is how long requests may take to end when the server ends. Streams end at once.
const shutdown = time.Second

func (s *Server) serve(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Address)
	if err != nil {
		return err
	}
	listener = netutil.LimitListener(listener, MaxConnections)
	if s.opts.TLS != nil {
		listener = tls.NewListener(listener, s.opts.TLS)
	}
	server := &http.Server{
		Handler: s, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadTimeout: ReadTimeout, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.opts.Logger.V(1)), slog.LevelInfo),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // there is nothing left to do about it
		}
	})
	s.opts.Logger.Info("Serving the node page", "address", listener.Addr().String())
	err = server.Serve(listener)
	if !stop() {
		<-ended // it is shutting down
	}
	return err
}
