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

	"github.com/hnsguard/hnsguard/internal/report"
)

// PageAddress is the default address of the page.
const PageAddress = "127.0.0.1:9473"

// StatusPath is the path of the report for programs.
const StatusPath = "/api/v1/status"

// Authorized is the prefix of the page's paths in RBAC rules. Without it, every authenticated user could get /api/*
// (the role system:discovery).
const Authorized = "/hnsguard"

// maxDocuments is the number of reports that are encoded in parallel (invariant 2).
const maxDocuments = 2

// Board returns the report that the page shows.
type Board interface {
	Report() report.Report
}

// page handles the requests for the node page.
type page struct {
	board     Board
	documents chan struct{}
}

//go:embed assets
var assets embed.FS

// NewPage returns a server of the node page, or an error if the address must not be used (invariant 10). It also serves
// the metrics, so that a bundle can record them even if the metrics server requires a token.
func NewPage(o Options, board Board, metrics prometheus.Gatherer) (*Server, error) {
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
	shown := page{board: board, documents: make(chan struct{}, maxDocuments)}
	for path, handler := range map[string]http.Handler{
		"/": asset("page.html"), "/page.css": asset("page.css"), "/page.js": asset("page.js"), "/icon.svg": asset("icon.svg"),
		StatusPath: http.HandlerFunc(shown.status), MetricsPath: metricsHandler(metrics),
	} {
		s.handle(path, Authorized+path, handler)
	}
	return s, nil
}

func asset(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, assets, "assets/"+name)
	})
}

// status serves the whole report. A slow client does not delay others.
func (p *page) status(w http.ResponseWriter, r *http.Request) {
	select {
	case p.documents <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	text, err := json.Marshal(p.board.Report())
	<-p.documents
	if err != nil {
		http.Error(w, "encoding the status: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // the client may have left
}

// retryInterval is the time before listening again if the address is in use. The previous agent may still be stopping.
const retryInterval = 30 * time.Second

// Run serves until the context ends, and retries if serving fails (invariant 12).
func (s *Server) Run(ctx context.Context) {
	for {
		err := s.Start(ctx)
		if ctx.Err() != nil {
			return
		}
		s.opts.Logger.Error(err, "Cannot serve the node page; will retry",
			"address", s.opts.Address, "retryIn", retryInterval)
		select {
		case <-ctx.Done():
			return
		case <-s.opts.Clock.After(retryInterval):
		}
	}
}
