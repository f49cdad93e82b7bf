// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// What an administrator cannot choose better than the program is not in the file.
const (
	// FastDuration is how long one pod that waits for its address keeps the poll interval fast. The kubelet creates a
	// sandbox within seconds; a pod that waits longer waits for something else, such as its image.
	FastDuration = 5 * time.Minute
	// ListTimeout limits an HNS call that reads many objects. HNS has answered with 5,000 endpoints within seconds.
	ListTimeout = time.Minute
	// MaxHungCalls is how many HNS calls may hang at a time. Each keeps a thread, and a hung HNS answers none of them:
	// more calls would not help.
	MaxHungCalls = 8
	// RereadInterval is how old the state of an endpoint may get before the endpoint is read again. A remote endpoint
	// whose address is in use is left alone for up to a week, unless it is new.
	RereadInterval = 5 * time.Minute
)

// Pace limits how fast hnsguard acts. The values follow from how kube-proxy syncs. Tests and the demo, whose
// kube-proxies are faster, choose others.
type Pace struct {
	// OrphansPerStep is how many orphans are removed in one step, and StepInterval how long hnsguard waits between two
	// steps, and up to half as long again. kube-proxy gives up a sync when an endpoint vanishes while it lists them, and
	// syncs again after 30 seconds at the latest, so it needs that time without a removal. A step also waits until no
	// EndpointSlice has changed for a third of the interval, but no longer than two intervals. While a pod on the node
	// waits for its address, a step does not wait for slices, and the interval is Orphan.GracePeriodWhileWaiting if that
	// is shorter.
	OrphansPerStep int
	StepInterval   time.Duration
	// Burst is how many removals may follow each other without a delay: the conflicts of a node that has just restarted.
	Burst int
	// EvictionInterval is the shortest time between two evictions on one node, in which a replacement can start and show
	// whether evicting helps.
	EvictionInterval time.Duration
	// SandboxTime is how much longer than eviction.after a pod has to be without an endpoint to be evicted: kubelet takes
	// up to 4 minutes to create a sandbox again, or to give up an attempt.
	SandboxTime time.Duration
}

// DefaultPace returns the pace of an agent.
func DefaultPace() Pace {
	return Pace{
		OrphansPerStep: 25, StepInterval: 30 * time.Second, Burst: 50,
		EvictionInterval: time.Minute, SandboxTime: 5 * time.Minute,
	}
}
