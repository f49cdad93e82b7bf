// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// APIVersion and Kind identify a configuration file.
const (
	APIVersion = "hnsguard.io/v1alpha1"
	Kind       = "Configuration"
)

// Mode selects whether hnsguard acts or only reports.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce"
	Observe Mode = "observe"
)

// Modes lists all modes.
func Modes() []Mode { return []Mode{Enforce, Observe} }

// Config is the configuration file.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// Mode is the upper limit: with observe nothing is changed, whatever the modes below say.
	// Default: enforce.
	Mode Mode `json:"mode"`
	// Network is the name of the HNS network of the pods.
	// Default: the one network whose type CNIs use for pods; of several, the one with endpoints of kube-proxy.
	Network string `json:"network"`
	// Exclusions are address ranges in which no endpoint is ever removed.
	// Default: none.
	Exclusions []string `json:"exclusions"`

	Conflict  Conflict  `json:"conflict"`
	Orphan    Orphan    `json:"orphan"`
	Flush     Flush     `json:"flush"`
	Keep      Keep      `json:"keep"`
	Reprogram Reprogram `json:"reprogram"`
	Eviction  Eviction  `json:"eviction"`
	Removals  Removals  `json:"removals"`
	Poll      Poll      `json:"poll"`
	HNS       HNS       `json:"hns"`

	// Pace is not in the file.
	Pace Pace `json:"-"`
}

// Conflict is the policy for remote endpoints whose address belongs to a pod on this node.
type Conflict struct {
	// Mode is the mode of this class.
	// Default: enforce.
	Mode Mode `json:"mode"`
}

// Orphan is the policy for remote endpoints that nothing uses.
type Orphan struct {
	// Mode is the mode of this class.
	// Default: enforce.
	Mode Mode `json:"mode"`
	// GracePeriod is how long an address must have been unused before its endpoint is removed.
	// From 10s to 24h. Default: 5m.
	GracePeriod Duration `json:"gracePeriod"`
	// GracePeriodWhileWaiting replaces GracePeriod while a pod on the node waits for its address: an HNS that refuses
	// duplicates cannot give it the address of an orphan.
	// From 1s to GracePeriod. Default: 5s.
	GracePeriodWhileWaiting Duration `json:"gracePeriodWhileWaiting"`
	// MaxPerPass is how many orphans may be due in one pass. If there are more, hnsguard is more likely to see too little
	// of the cluster than to have found that many orphans: it reports them, and verifies each step by a fresh list from
	// the API server.
	// From 1 to 100000. Default: 250.
	MaxPerPass int `json:"maxPerPass"`
}

// Flush is the policy for kube-proxy's record of terminated addresses, on versions with the stale-record fault.
type Flush struct {
	// Mode is the mode of this class.
	// Default: enforce.
	Mode Mode `json:"mode"`
}

// Keep is the policy for addresses of pods on this node that EndpointSlices still list elsewhere, on versions of
// kube-proxy with the stale-record fault. With enforce, hnsguard keeps them listed for as long as the pod has them.
type Keep struct {
	// Mode is the mode of this class.
	// Default: enforce.
	Mode Mode `json:"mode"`
}

// Reprogram is the policy for load balancers that refer to endpoints that no longer exist, or that are gone themselves.
// They are always reported. With enforce, hnsguard makes kube-proxy program the Service again.
type Reprogram struct {
	// Mode is the mode of this class.
	// Default: observe, because all Windows nodes program the Service again.
	Mode Mode `json:"mode"`
}

// Eviction is the policy for pods that have lost their endpoint. They are always reported. With enforce, they are
// evicted so that their controller replaces them.
type Eviction struct {
	// Mode is the mode of this class.
	// Default: observe, because it ends pods.
	Mode Mode `json:"mode"`
	// After is how long a running pod must have been without an endpoint.
	// From 10s to 1h. Default: 30s.
	After Duration `json:"after"`
}

// Removals limits the rate of removals of all classes together.
type Removals struct {
	// PerSecond is the rate.
	// From 0.01 to 1000. Default: 10.
	PerSecond float64 `json:"perSecond"`
}

// Poll sets how often HNS is read. HNS has no notification for remote endpoints.
type Poll struct {
	// FastInterval is the interval while a pod on this node waits for its address.
	// From 50ms to 1m, and at most SlowInterval. Default: 250ms.
	FastInterval Duration `json:"fastInterval"`
	// SlowInterval is the interval otherwise.
	// From 1s to 5m. Default: 5s.
	SlowInterval Duration `json:"slowInterval"`
}

// HNS limits calls to the Host Networking Service.
type HNS struct {
	// CallTimeout limits a call about one object.
	// From 1s to 10m. Default: 10s.
	CallTimeout Duration `json:"callTimeout"`
}

// Default returns the configuration of an empty file.
func Default() Config {
	return Config{
		APIVersion: APIVersion,
		Kind:       Kind,
		Mode:       Enforce,
		Exclusions: []string{},
		Conflict:   Conflict{Mode: Enforce},
		Orphan: Orphan{
			Mode:                    Enforce,
			GracePeriod:             duration(5 * time.Minute),
			GracePeriodWhileWaiting: duration(5 * time.Second),
			MaxPerPass:              250,
		},
		Flush:     Flush{Mode: Enforce},
		Keep:      Keep{Mode: Enforce},
		Reprogram: Reprogram{Mode: Observe},
		Eviction:  Eviction{Mode: Observe, After: duration(30 * time.Second)},
		Removals:  Removals{PerSecond: 10},
		Poll: Poll{
			FastInterval: duration(250 * time.Millisecond),
			SlowInterval: duration(5 * time.Second),
		},
		HNS:  HNS{CallTimeout: duration(10 * time.Second)},
		Pace: DefaultPace(),
	}
}

func duration(d time.Duration) Duration { return Duration{Duration: d} }

// Enforces reports whether a class with the given mode may act.
func (c Config) Enforces(class Mode) bool { return c.Mode == Enforce && class == Enforce }

// EnforcesRemoval reports whether endpoints may be removed: orphans, or those that are in a pod's way.
func (c Config) EnforcesRemoval(orphans bool) bool {
	if orphans {
		return c.Enforces(c.Orphan.Mode)
	}
	return c.Enforces(c.Conflict.Mode)
}

// EffectiveModes returns the mode of each class as it results from the upper limit and its own.
func (c Config) EffectiveModes() map[string]Mode {
	modes := map[string]Mode{}
	for _, class := range c.classes() {
		modes[class.name] = Observe
		if c.Enforces(class.mode) {
			modes[class.name] = Enforce
		}
	}
	return modes
}

// class is a class of acts: its field in the file and its label in metrics.
type class struct {
	name string
	mode Mode
}

func (c Config) classes() []class {
	return []class{
		{"conflict", c.Conflict.Mode},
		{"orphan", c.Orphan.Mode},
		{"flush", c.Flush.Mode},
		{"keep", c.Keep.Mode},
		{"reprogram", c.Reprogram.Mode},
		{"eviction", c.Eviction.Mode},
	}
}
