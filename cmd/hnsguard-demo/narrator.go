// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// narrator writes the timeline, including what matters of the guard's log and Events.
type narrator struct {
	mu    sync.Mutex
	out   io.Writer
	clock clock.Clock
	start time.Time
}

func (n *narrator) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.start = n.clock.Now()
}

func (n *narrator) say(actor, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = fmt.Fprintf(n.out, "%5.1fs  %-10s  %s\n", n.clock.Since(n.start).Seconds(), actor, fmt.Sprintf(format, args...))
}

// Eventf implements [k8s.io/client-go/tools/events.EventRecorder].
func (n *narrator) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	n.say(actorGuard, "Event %s %s: %s", kind, reason, fmt.Sprintf(note, args...))
}

// logger returns a logger that puts the guard's log on the timeline. With verdicts it includes every decision.
func (n *narrator) logger(verdicts bool) logr.Logger {
	sink := guardSink{narrator: n}
	if verdicts {
		sink.level = 1
	}
	return logr.New(sink)
}

// guardSink reduces a log entry to what a person needs: the message and the endpoint it is about.
type guardSink struct {
	*narrator
	name   string
	level  int
	values []any
}

var _ logr.LogSink = guardSink{}

func (guardSink) Init(logr.RuntimeInfo) {}

// Enabled drops everything but the guard's own log: the rest of the agent logs starting and stopping.
func (s guardSink) Enabled(level int) bool { return level <= s.level && s.name == "guard" }

func (s guardSink) Info(_ int, message string, values ...any) {
	s.say(actorGuard, "%s%s", message, about(slices.Concat(s.values, values)))
}

func (s guardSink) Error(err error, message string, values ...any) {
	s.say(actorGuard, "%s%s: %v", message, about(slices.Concat(s.values, values)), err)
}

func (s guardSink) WithValues(values ...any) logr.LogSink {
	s.values = slices.Concat(s.values, values)
	return s
}

func (s guardSink) WithName(name string) logr.LogSink {
	s.name = name
	return s
}

// about picks the values that identify the endpoint of a message.
func about(values []any) string {
	var parts []string
	for i := 0; i+1 < len(values); i += 2 {
		switch values[i] {
		case "endpointID":
			if id, ok := values[i+1].(hns.EndpointID); ok {
				parts = append(parts, short(id))
			}
		case "ip":
			parts = append(parts, fmt.Sprint(values[i+1]))
		case "verdict", "reason", "result", "took":
			parts = append(parts, fmt.Sprintf("%s=%v", values[i], values[i+1]))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, " ") + ")"
}
