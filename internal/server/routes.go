// SPDX-License-Identifier: Apache-2.0

package server

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hnsguard/hnsguard/internal/version"
)

// The paths for programs.
const (
	StatusPath  = "/api/v1/status"
	EventsPath  = "/api/v1/events"
	StatuszPath = "/statusz"
	FlagzPath   = "/flagz"
	MetricsPath = "/metrics"
)

//go:embed assets
var assets embed.FS

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+StatusPath, s.status)
	mux.HandleFunc("GET "+EventsPath, s.events)
	mux.HandleFunc("GET "+StatuszPath, s.statusz)
	mux.HandleFunc("GET "+FlagzPath, s.flagz)
	mux.Handle("GET "+MetricsPath, promhttp.HandlerFor(s.opts.Metrics, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxDocuments,
	}))
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	for _, name := range []string{"page.css", "page.js", "icon.svg"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "page.html")
	})
	return mux
}

// status serves the whole document. A client that is slow to receive it keeps no other from getting theirs.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	select {
	case s.documents <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	text, err := json.Marshal(s.opts.Board.Document())
	<-s.documents
	if err != nil {
		http.Error(w, "encoding the status: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // the client may have gone
}

// notStable begins the pages that are for debugging.
func notStable(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "\nhnsguard %s\nWarning: this page is for debugging. Its format is not stable.\n\n", name)
}

// statusz serves what Kubernetes components show at this path, in the same form.
func (s *Server) statusz(w http.ResponseWriter, _ *http.Request) {
	build, up := version.Get(), s.opts.Clock.Since(s.started)
	paths := []string{"/", EventsPath, StatusPath, FlagzPath, MetricsPath, StatuszPath}
	notStable(w, "statusz")
	_, _ = fmt.Fprintf(w, "Started: %s\nUp: %d hr %02d min %02d sec\nGo version: %s\nBinary version: %s\n\nPaths: %s\n",
		s.started.UTC().Format(time.UnixDate), int(up.Hours()), int(up.Minutes())%60, int(up.Seconds())%60,
		build.GoVersion, build.Version, strings.Join(paths, " "))
}

// flagz serves the flags, in the same form too.
func (s *Server) flagz(w http.ResponseWriter, _ *http.Request) {
	notStable(w, "flagz")
	for _, name := range slices.Sorted(maps.Keys(s.opts.Flags)) {
		_, _ = io.WriteString(w, name+"="+s.opts.Flags[name]+"\n")
	}
}
