// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// These constants are not in the file, because an administrator cannot choose them better.
const (
	// FastDuration is how long one waiting pod keeps the poll interval fast. The kubelet creates a sandbox within seconds;
	// a pod that waits longer waits for something else, such as its image.
	FastDuration = 5 * time.Minute
	// ListTimeout limits an HNS call that reads many objects. Thousands of load balancers take tens of seconds on a slow
	// node.
	ListTimeout = time.Minute
	// MaxHungCalls is the maximum number of hung HNS calls. Each holds a thread. A hung HNS answers none of them, so more
	// calls would not help.
	MaxHungCalls = 8
	// RereadInterval is the maximum age of an endpoint's state before it is read again. A remote endpoint that is not new
	// is read again only after days.
	RereadInterval = 5 * time.Minute
)

// Pace limits how fast hnsguard acts. The values follow from how kube-proxy syncs. Tests and the demo have faster
// kube-proxies, and other values.
type Pace struct {
	// OrphansPerStep is the maximum number of orphans that are removed in one step, and StepInterval the minimum time
	// between two steps, to which up to half is added. kube-proxy gives up a sync if an endpoint vanishes while it lists
	// them, and syncs again after at most 30 seconds, so it needs that time without a removal. A step also waits until no
	// EndpointSlice has changed for a third of the interval, but at most for two intervals. While a pod on the node waits
	// for its address, a step does not wait for slices, and Orphan.GracePeriodWhileWaiting replaces a longer interval.
	OrphansPerStep int
	StepInterval   time.Duration
	// Burst is the number of removals that may follow each other without a delay, for the conflicts of a restarted node.
	Burst int
	// EvictionInterval is the minimum time between two evictions on one node. In this time a replacement can start and
	// show whether eviction helps.
	EvictionInterval time.Duration
	// SandboxTime is the time that a pod must lack its endpoint beyond eviction.after before it is evicted: the kubelet
	// takes up to 4 minutes to recreate a sandbox, or to give up an attempt.
	SandboxTime time.Duration
}

// DefaultPace returns the pace of an agent.
func DefaultPace() Pace {
	return Pace{
		OrphansPerStep: 25, StepInterval: 30 * time.Second, Burst: 50,
		EvictionInterval: time.Minute, SandboxTime: 5 * time.Minute,
	}
}
