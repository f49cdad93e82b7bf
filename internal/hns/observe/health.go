// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Health sums up the outcomes of HNS calls so far.
type Health struct {
	// Answered is when HNS last answered a call; zero if it never did.
	Answered time.Time `json:"answered,omitzero"`
	// Failing are the operations whose last call failed, sorted by name.
	Failing []Failure `json:"failing"`
	// LastFailure is the last failed call, even if later ones succeeded; nil if none failed.
	LastFailure *Failure `json:"lastFailure,omitempty"`
}

// Failure is a run of failed calls of one operation.
type Failure struct {
	Operation hns.Operation  `json:"operation"`
	Class     hns.ErrorClass `json:"class"`
	// Message is the last error.
	Message string `json:"message"`
	// Since is when the first call of the run failed, and Last when the last one did.
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	// Count is the number of failed calls.
	Count int `json:"count"`
}

// maxMessage bounds the text of a failure, which comes from HNS.
const maxMessage = 512

// outcomes records the outcomes of calls. It is safe for concurrent use.
type outcomes struct {
	mu       sync.Mutex
	answered time.Time
	failing  map[hns.Operation]Failure
	last     *Failure
}

// record records the outcome of a call. "Not found" is an answer; a canceled call says nothing about HNS.
func (o *outcomes) record(op hns.Operation, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil || hns.ClassOf(err) == hns.ClassNotFound {
		o.answered = now
		delete(o.failing, op)
		return
	}
	if hns.ClassOf(err) == hns.ClassCanceled {
		return
	}
	f, failing := o.failing[op]
	if !failing {
		f = Failure{Operation: op, Since: now}
	}
	f.Class, f.Message, f.Last, f.Count = hns.ClassOf(err), cut(err.Error()), now, f.Count+1
	if o.failing == nil {
		o.failing = map[hns.Operation]Failure{}
	}
	o.failing[op], o.last = f, &f
}

func cut(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

func (o *outcomes) health() Health {
	o.mu.Lock()
	defer o.mu.Unlock()
	failing := slices.SortedFunc(maps.Values(o.failing), func(a, b Failure) int {
		return cmp.Compare(a.Operation, b.Operation)
	})
	if failing == nil {
		failing = []Failure{}
	}
	return Health{Answered: o.answered, Failing: failing, LastFailure: o.last}
}
