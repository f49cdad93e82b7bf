// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/hnsguard/hnsguard/internal/nodestatus"
)

// writeTimeout is how long a client may take to receive an event.
const writeTimeout = 10 * time.Second

// events serves a stream of server-sent events: a beat after each pass, but not more often than Interval and not more
// rarely than Heartbeat. The client reads the document if the revision of the beat is new to it.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many event streams are open", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	for {
		replaced := s.opts.Board.Replaced()
		if err := send(w, s.opts.Board.Beat()); err != nil {
			return // the client has gone
		}
		if !s.await(r, replaced) {
			return
		}
	}
}

// await waits until the next beat is due. It returns false if the client has gone, or the server ends.
func (s *Server) await(r *http.Request, replaced <-chan struct{}) bool {
	heartbeat := s.opts.Clock.NewTimer(s.opts.Heartbeat)
	defer heartbeat.Stop()
	interval := s.opts.Clock.NewTimer(s.opts.Interval)
	defer interval.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-interval.C():
	}
	select {
	case <-r.Context().Done():
		return false
	case <-replaced:
	case <-heartbeat.C():
	}
	return true
}

// send sends an event. The deadline of the server is for responses that end.
func send(w http.ResponseWriter, beat nodestatus.Beat) error {
	data, err := json.Marshal(beat)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil { //nolint:forbidigo // of the connection
		return err
	}
	if _, err := fmt.Fprintf(w, "event: beat\ndata: %s\n\n", data); err != nil {
		return err
	}
	return control.Flush()
}
