// SPDX-License-Identifier: Apache-2.0

package history

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// The bounds of each act's part.
const (
	MaxEntries = 100
	MaxBytes   = 64 << 10
)

// Gap is the maximum time between two occurrences that count as the same entry. It is longer than most backoffs.
const Gap = 5 * time.Minute

// The bounds of one entry.
const (
	maxText = 512
	maxPods = 8
)

// Options configure a ring.
type Options struct {
	// MaxEntries and MaxBytes bound each act's part.
	// Default: [MaxEntries] and [MaxBytes].
	MaxEntries, MaxBytes int
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// Ring keeps the last entries of each act. It is safe for concurrent use.
type Ring struct {
	opts Options

	mu sync.Mutex
	// parts are the entries by act, sorted by their last occurrence.
	parts map[Act][]Entry
}

// NewRing returns an empty ring.
func NewRing(o Options) *Ring {
	o.MaxEntries, o.MaxBytes = cmp.Or(o.MaxEntries, MaxEntries), cmp.Or(o.MaxBytes, MaxBytes)
	return &Ring{opts: o, parts: map[Act][]Entry{}}
}

// Add adds an entry, or counts it as a repetition (invariant 2). A nil ring ignores it.
func (r *Ring) Add(e Entry) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e = bounded(e)
	e.First, e.Count = r.opts.Clock.Now().UTC(), 1
	e.Last = e.First
	part, size := r.parts[e.Act], e.size()
	if at := slices.IndexFunc(part, e.continues); at >= 0 {
		e.First, e.Count = part[at].First, part[at].Count+1
		part = slices.Delete(part, at, at+1)
	}
	for i := range part {
		size += part[i].size()
	}
	part = append(part, e)
	for len(part) > r.opts.MaxEntries || size > r.opts.MaxBytes {
		size -= part[0].size()
		part = slices.Delete(part, 0, 1)
	}
	r.parts[e.Act] = part
}

// continues reports whether the entry repeats an earlier one of its act within [Gap].
func (e Entry) continues(earlier Entry) bool {
	return e.Result == earlier.Result && e.Endpoint == earlier.Endpoint && e.Address == earlier.Address &&
		e.Subject == earlier.Subject && slices.Equal(e.Pods, earlier.Pods) &&
		e.Verdict == earlier.Verdict && e.Reason == earlier.Reason && e.Last.Sub(earlier.Last) <= Gap
}

// bounded truncates texts and lists (invariant 1).
func bounded(e Entry) Entry {
	e.Detail, e.Subject = cut(e.Detail), cut(e.Subject)
	e.Pods, e.Before, e.After = few(e.Pods), few(e.Before), few(e.After)
	return e
}

func few(all []string) []string {
	if len(all) <= maxPods {
		return all
	}
	return slices.Concat(all[:maxPods], []string{"…"})
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// fixedSize is the approximate size of an entry without its texts.
const fixedSize = 512

// size returns the approximate memory of the entry in bytes.
func (e Entry) size() int {
	n := fixedSize + len(e.Result) + len(e.Endpoint) + len(e.Subject) + len(e.Detail)
	for _, texts := range [...][]string{e.Pods, e.Before, e.After} {
		for _, text := range texts {
			n += len(text) + 16
		}
	}
	return n
}

// Entries returns all entries, most recent first.
func (r *Ring) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Entry{}
	for _, part := range r.parts {
		all = append(all, part...)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(b.Last.Compare(a.Last), b.First.Compare(a.First), cmp.Compare(a.Act, b.Act),
			cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Result, b.Result))
	})
	return all
}
