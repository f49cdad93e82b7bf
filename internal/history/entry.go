// SPDX-License-Identifier: Apache-2.0

package history

import (
	"net/netip"
	"time"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Act is the closed set of kinds of entries.
type Act string

// The acts. The result of an entry is its outcome.
const (
	// Decision: an endpoint got another verdict, and one of the two needs attention. It has no result.
	Decision Act = "decision"
	// Removal of a stale endpoint. The results are those of the metric hnsguard_removals_total.
	Removal Act = "removal"
	// Brake: an endpoint could be removed and was kept for now. The result is the brake.
	Brake Act = "brake"
	// Flush of kube-proxy's record. The results are those of the metric hnsguard_flushes_total.
	Flush Act = "flush"
	// Keep: an address of a pod on this node is kept listed, or not any more. The results are those of the metric
	// hnsguard_keeps_total, after the act.
	Keep Act = "keep"
	// Reprogram: kube-proxy is made to program a Service again. The results are those of hnsguard_reprograms_total.
	Reprogram Act = "reprogram"
	// Victim: a running pod has lost its endpoint. It has no result, or [Ending].
	Victim Act = "victim"
	// Eviction of a victim. The results are those of the metric hnsguard_evictions_total.
	Eviction Act = "eviction"
	// Reuse: a pod on this node got an address that EndpointSlices listed on another node. The result is [Listed] or
	// [Dropped].
	Reuse Act = "reuse"
	// KubeProxy did or failed to do something to HNS, as its log says. The results are those of package recording.
	KubeProxy Act = "kube-proxy"
	// Pass over the node. The result is [Unknown], or [Complete] for the first that is complete again.
	Pass Act = "pass"
)

// The results of acts that no metric names.
const (
	// Ending: the pod is being deleted, and should have been gone for long.
	Ending = "ending_too_long"
	// Listed: the address is still listed on another node.
	Listed = "still_listed"
	// Dropped: it was, some time before.
	Dropped = "dropped_before"
	// Unknown: the node could not be observed.
	Unknown = "unknown"
	// Complete: it could.
	Complete = "complete"
)

// Entry is one thing that happened, once or several times. Its JSON form is for scripts: fields may be added, but do
// not change.
type Entry struct {
	// First and Last are when it happened, and Count how many times. The ring sets them.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`

	Act    Act    `json:"act"`
	Result string `json:"result,omitempty"`

	// Endpoint and Address are the object of the act; both may be missing.
	Endpoint hns.EndpointID `json:"endpoint,omitempty"`
	Address  netip.Addr     `json:"address,omitzero"`
	// Subject is another object that it happened to, such as the family of a record or a Service.
	Subject string `json:"subject,omitempty"`
	// Pods are pods on this node that it is about, as namespace/name.
	Pods []string `json:"pods,omitempty"`

	// Verdict and Reason are the decision that it rests on.
	Verdict verdict.Kind   `json:"verdict,omitempty"`
	Reason  verdict.Reason `json:"reason,omitempty"`
	// Before and After describe the endpoints of the address before and after a removal: they show what it changed. They
	// are missing where HNS was not read, and empty where there was none.
	Before []string `json:"before,omitzero"`
	After  []string `json:"after,omitzero"`
	// AfterSeconds is how long it took: until a stale endpoint was removed, or an address was reused.
	AfterSeconds float64 `json:"afterSeconds,omitempty"`
	// Detail is more about it: what failed the last time, or why.
	Detail string `json:"detail,omitempty"`
}

// Of returns an entry about a verdict.
func Of(act Act, result string, v verdict.Verdict) Entry {
	return Entry{
		Act: act, Result: result, Endpoint: v.Endpoint.ID, Address: v.Address(), Pods: Names(v.Pods...), Verdict: v.Kind,
		Reason: v.Reason,
	}
}

// Because returns the entry with the text of an error, if there is one.
func (e Entry) Because(err error) Entry {
	if err != nil {
		e.Detail = err.Error()
	}
	return e
}

// Took returns the entry with how long it took.
func (e Entry) Took(d time.Duration) Entry {
	e.AfterSeconds = float64(d.Round(time.Millisecond).Milliseconds()) / 1000
	return e
}

// Names are the names of pods.
func Names(pods ...cluster.PodID) []string {
	names := make([]string, 0, len(pods))
	for _, p := range pods {
		names = append(names, p.String())
	}
	return names
}
