// SPDX-License-Identifier: Apache-2.0

package history

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The bounds of each act's part.
const (
	MaxEntries = 100
	MaxBytes   = 64 << 10
)

// Gap is how far two occurrences may lie apart for the later to count as the same. It is longer than most backoffs.
const Gap = 5 * time.Minute

// The bounds of one entry.
const (
	maxText = 512
	maxPods = 8
)

// Options are the bounds of a ring.
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

	mu    sync.Mutex
	parts map[Act]*part
}

// part has the entries of one act, the one that is the longest ago first.
type part struct {
	order list.List // of *Entry
	byKey map[key]*list.Element
	bytes int
}

// key is what makes two entries the same.
type key struct {
	result   string
	endpoint hns.EndpointID
	address  netip.Addr
	subject  string
	pods     string
	verdict  verdict.Kind
	reason   verdict.Reason
}

// NewRing returns an empty ring.
func NewRing(o Options) *Ring {
	o.MaxEntries, o.MaxBytes = cmp.Or(o.MaxEntries, MaxEntries), cmp.Or(o.MaxBytes, MaxBytes)
	return &Ring{opts: o, parts: map[Act]*part{}}
}

// Add adds an entry, or counts it on the same one (invariant 2). A nil ring keeps nothing.
func (r *Ring) Add(e Entry) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e = bounded(e)
	e.First, e.Count = r.opts.Clock.Now().UTC(), 1
	e.Last = e.First
	p := r.part(e.Act)
	if before := p.byKey[keyOf(e)]; before != nil {
		if old := before.Value.(*Entry); e.First.Sub(old.Last) <= Gap { //nolint:forcetypeassert // nothing else is added
			e.First, e.Count = old.First, old.Count+1
			p.remove(before)
		}
	}
	p.push(&e)
	for p.order.Len() > r.opts.MaxEntries || p.bytes > r.opts.MaxBytes {
		p.remove(p.order.Front())
	}
}

func (r *Ring) part(act Act) *part {
	if r.parts[act] == nil {
		r.parts[act] = &part{byKey: map[key]*list.Element{}}
	}
	return r.parts[act]
}

func (p *part) push(e *Entry) {
	p.byKey[keyOf(*e)] = p.order.PushBack(e)
	p.bytes += e.size()
}

func (p *part) remove(element *list.Element) {
	e := p.order.Remove(element).(*Entry) //nolint:forcetypeassert // nothing else is added
	p.bytes -= e.size()
	if p.byKey[keyOf(*e)] == element { // a later entry may have its key
		delete(p.byKey, keyOf(*e))
	}
}

func keyOf(e Entry) key {
	return key{e.Result, e.Endpoint, e.Address, e.Subject, strings.Join(e.Pods, ","), e.Verdict, e.Reason}
}

// bounded cuts what has no bound of its own (invariant 1).
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

// fixedSize is about what an entry needs besides its texts, in the list and the map.
const fixedSize = 512

// size is about how many bytes of memory the entry needs.
func (e Entry) size() int {
	n := fixedSize + len(e.Result) + len(e.Endpoint) + len(e.Subject) + len(e.Detail)
	for _, pod := range e.Pods {
		n += 2 * (len(pod) + 16) // in the entry and in its key
	}
	for _, text := range slices.Concat(e.Before, e.After) {
		n += len(text) + 16
	}
	return n
}

// Entries returns all entries, those that happened last first.
func (r *Ring) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Entry{}
	for _, p := range r.parts {
		for element := p.order.Front(); element != nil; element = element.Next() {
			all = append(all, *element.Value.(*Entry)) //nolint:forcetypeassert // nothing else is added
		}
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(b.Last.Compare(a.Last), b.First.Compare(a.First), cmp.Compare(a.Act, b.Act),
			cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Result, b.Result))
	})
	return all
}
