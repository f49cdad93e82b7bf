// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"
)

// APIVersion and Kind are what a file has to begin with.
const (
	APIVersion = "hnsguard.io/v1alpha1"
	Kind       = "Configuration"
)

// Mode says whether hnsguard acts or only says what it would do.
type Mode string

// The two modes.
const (
	Enforce Mode = "enforce"
	Observe Mode = "observe"
)

// Config is the whole policy.
type Config struct {
	// Mode is the ceiling: with observe nothing is changed, whatever the classes below say.
	Mode Mode
	// Network is the name of the HNS network that the pods are on; empty means to find it.
	Network string
	// Exclusions are address ranges in which no endpoint is ever removed.
	Exclusions []netip.Prefix
	Conflict   Conflict
	Orphan     Orphan
	Flush      Flush
	Shield     Shield
	Reprogram  Reprogram
	Repair     Repair
	Removals   Removals
	Poll       Poll
	HNS        HNS
}

// Conflict is the policy for remote endpoints whose address a pod of this node has.
type Conflict struct {
	Mode Mode
	// HoldTimeout is how long a conflict is held where nothing proves that kube-proxy has processed the drop.
	HoldTimeout time.Duration
}

// Orphan is the policy for remote endpoints that nobody uses.
type Orphan struct {
	Mode Mode
	// GracePeriod is how long nobody may have used an address before its endpoint may go.
	GracePeriod time.Duration
	// MaxPerPass is the most that may be due at one time. If more are, none is removed and somebody should look: it is
	// more likely that hnsguard sees too little than that so many are orphans.
	MaxPerPass int
	// MaxPerStep is the most that are removed in one pass.
	MaxPerStep int
	// GraceWhileWaiting is the grace period while a pod of the node waits for its address: an HNS that refuses duplicates
	// does not let the pod have it as long as the endpoint is there.
	GraceWhileWaiting time.Duration
}

// Flush is the policy for kube-proxy's record of terminated addresses, on versions that have the fault.
type Flush struct {
	Mode Mode
}

// Shield is the policy for conflicts that have to be held, because the kube-proxy of the node would delete the pod's
// own endpoint: with enforce a second remote endpoint is made, for kube-proxy to delete instead. It makes endpoints,
// so that it has to be asked for.
type Shield struct {
	Mode Mode
}

// Reprogram is the policy for load balancers that name an endpoint which is gone. They are always reported; with
// enforce kube-proxy is made to program their Service again, on all Windows nodes, so that it has to be asked for.
type Reprogram struct {
	Mode Mode
}

// Repair is the policy for pods that have lost their endpoint. They are always reported; with enforce they are evicted,
// so that their controller makes new ones. That is more than hnsguard does otherwise, so that it has to be asked for.
type Repair struct {
	Mode Mode
	// After is how long a running pod has to be without endpoint before it counts as a victim.
	After time.Duration
	// Every is the shortest time between two evictions on one node.
	Every time.Duration
}

// Removals limits how fast endpoints are removed, whatever the reason.
type Removals struct {
	PerSecond float64
	Burst     int
}

// Poll says how often HNS is asked what it holds. It tells nobody by itself.
type Poll struct {
	// Fast is the interval while a pod of this node waits for its address.
	Fast time.Duration
	// FastFor is how long one pod keeps the interval fast; after that it waits for something else.
	FastFor time.Duration
	// Slow is the interval otherwise.
	Slow time.Duration
}

// HNS bounds calls to the service.
type HNS struct {
	// CallTimeout bounds a call about one object.
	CallTimeout time.Duration
	// ListTimeout bounds a call that reads many objects.
	ListTimeout time.Duration
	// MaxHungCalls is how many calls may hang at one time before no more are made.
	MaxHungCalls int
	// RereadEvery is in what time everything is read afresh.
	RereadEvery time.Duration
}

// Default is the policy of an empty file.
func Default() Config {
	return Config{
		Mode:     Enforce,
		Conflict: Conflict{Mode: Enforce, HoldTimeout: 5 * time.Minute},
		Orphan: Orphan{
			Mode: Enforce, GracePeriod: 5 * time.Minute, MaxPerPass: 250, MaxPerStep: 10, GraceWhileWaiting: 5 * time.Second,
		},
		Flush:     Flush{Mode: Enforce},
		Shield:    Shield{Mode: Observe},
		Reprogram: Reprogram{Mode: Observe},
		Repair:    Repair{Mode: Observe, After: 30 * time.Second, Every: time.Minute},
		Removals:  Removals{PerSecond: 10, Burst: 50},
		Poll:      Poll{Fast: 250 * time.Millisecond, FastFor: 5 * time.Minute, Slow: 5 * time.Second},
		HNS: HNS{
			CallTimeout: 10 * time.Second, ListTimeout: time.Minute, MaxHungCalls: 8, RereadEvery: 5 * time.Minute,
		},
	}
}

// Enforces reports whether a class with the given mode may act.
func (c Config) Enforces(class Mode) bool { return c.Mode == Enforce && class == Enforce }
