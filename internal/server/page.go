// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/report"
)

// PageAddress is where the page is served unless something else is configured.
const PageAddress = "127.0.0.1:9473"

// The paths for programs.
const (
	StatusPath = "/api/v1/status"
	EventsPath = "/api/v1/events"
)

// Authorized is what comes before a path of the page in the roles of the cluster. Every authenticated user may get
// /api/* (the role system:discovery).
const Authorized = "/hnsguard"

// MaxStreams is how many streams are open at a time, and maxDocuments how many documents are encoded (invariant 2).
const (
	MaxStreams   = 8
	maxDocuments = 2
	// eventTimeout is how long a client may take to receive an event.
	eventTimeout = 10 * time.Second
)

// Board is what the page shows.
type Board interface {
	Document() report.NodeStatus
	Beat() report.Beat
	// Replaced returns a channel that is closed when there is something new.
	Replaced() <-chan struct{}
}

// PageOptions configure a node page.
type PageOptions struct {
	// Board is what is shown. Required.
	Board Board
	// Metrics are served on the page too: a bundle records them also where a scraper needs a token. Required.
	Metrics prometheus.Gatherer
	// Interval is the shortest time between two events of a stream, and Heartbeat the longest.
	// Default: one second, and 15.
	Interval, Heartbeat time.Duration
}

// page handles the requests for the node page.
type page struct {
	PageOptions
	clock     clock.Clock
	streams   chan struct{}
	documents chan struct{}
}

//go:embed assets
var assets embed.FS

// NewPage returns a server of the node page, or an error if the address may not be used (invariant 10).
func NewPage(o Options, p PageOptions) (*Server, error) {
	if o.Filter == nil && !IsLoopback(o.Address) {
		return nil, fmt.Errorf("the node page on %s: only a loopback address such as %s can be served without TLS and "+
			"authorization", o.Address, PageAddress)
	}
	s, err := newServer("node page", o)
	if err != nil {
		return nil, err
	}
	if o.Filter == nil {
		s.handler = withHeaders(onlyLoopback(onlySameSite(s.mux)))
	}
	shown := newPage(p, o.Clock)
	for path, handler := range map[string]http.Handler{
		"/": asset("page.html"), "/page.css": asset("page.css"), "/page.js": asset("page.js"), "/icon.svg": asset("icon.svg"),
		StatusPath: http.HandlerFunc(shown.status), EventsPath: http.HandlerFunc(shown.events),
		MetricsPath: metricsHandler(p.Metrics),
	} {
		s.handle(path, Authorized+path, handler)
	}
	return s, nil
}

func newPage(p PageOptions, c clock.Clock) *page {
	if p.Interval == 0 {
		p.Interval = time.Second
	}
	if p.Heartbeat == 0 {
		p.Heartbeat = 15 * time.Second
	}
	return &page{
		PageOptions: p, clock: c, streams: make(chan struct{}, MaxStreams), documents: make(chan struct{}, maxDocuments),
	}
}

func asset(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, assets, "assets/"+name)
	})
}

// status serves the whole document. A client that is slow to receive it does not delay other clients.
func (p *page) status(w http.ResponseWriter, r *http.Request) {
	select {
	case p.documents <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	text, err := json.Marshal(p.Board.Document())
	<-p.documents
	if err != nil {
		http.Error(w, "encoding the status: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // the client may have left
}

// events serves a stream of server-sent events: a beat after each pass, but not more often than Interval and not more
// rarely than Heartbeat. The client reads the document if the revision of the beat is new to it.
func (p *page) events(w http.ResponseWriter, r *http.Request) {
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many event streams are open", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	for open := true; open; {
		replaced := p.Board.Replaced()
		open = send(w, p.Board.Beat()) == nil && p.await(r.Context(), replaced)
	}
}

// await waits until the next beat is due. It returns false if the client has left, or the server ends.
func (p *page) await(ctx context.Context, replaced <-chan struct{}) bool {
	heartbeat := p.clock.After(p.Heartbeat)
	select {
	case <-ctx.Done():
		return false
	case <-p.clock.After(p.Interval):
	}
	select {
	case <-ctx.Done():
		return false
	case <-replaced:
	case <-heartbeat:
	}
	return true
}

// send sends an event. The deadline of the server is for responses that end.
func send(w http.ResponseWriter, beat report.Beat) error {
	data, err := json.Marshal(beat)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil { //nolint:forbidigo // of the connection
		return err
	}
	if _, err := fmt.Fprintf(w, "event: beat\ndata: %s\n\n", data); err != nil {
		return err
	}
	return control.Flush()
}

// retryInterval is how soon to listen again if the address is in use. The agent before this one may still be stopping.
const retryInterval = 30 * time.Second

// Run serves until the context ends, and tries again if that fails (invariant 12).
func (s *Server) Run(ctx context.Context) {
	for {
		err := s.Start(ctx)
		if ctx.Err() != nil {
			return
		}
		s.opts.Logger.Error(err, "Cannot serve the node page; will retry", "address", s.opts.Address, "retryIn", retryInterval)
		select {
		case <-ctx.Done():
			return
		case <-s.opts.Clock.After(retryInterval):
		}
	}
}
