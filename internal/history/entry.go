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
	// Decision: the verdict on an endpoint changed, and the old or the new one needs attention. It has no result.
	Decision Act = "decision"
	// Removal of a stale endpoint. The results are those of the metric hnsguard_removals_total.
	Removal Act = "removal"
	// Brake: an endpoint could be removed but was kept for now. The result is the brake.
	Brake Act = "brake"
	// Flush of kube-proxy's record. The results are those of the metric hnsguard_flushes_total.
	Flush Act = "flush"
	// Keep: a keep-slice began or ceased to list an address of a pod on this node. The results are those of the metric
	// hnsguard_keeps_total, after the act.
	Keep Act = "keep"
	// Reprogram: kube-proxy is made to program a Service again. The results are those of hnsguard_reprograms_total.
	Reprogram Act = "reprogram"
	// Victim: a running pod has lost its endpoint. The result is empty or [Ending].
	Victim Act = "victim"
	// Eviction of a victim. The results are those of the metric hnsguard_evictions_total.
	Eviction Act = "eviction"
	// Reuse: a pod on this node got an address that EndpointSlices listed on another node. The result is [Listed] or
	// [Dropped].
	Reuse Act = "reuse"
	// KubeProxy: kube-proxy changed HNS or failed to, according to its log. The results are those of package recording.
	KubeProxy Act = "kube-proxy"
	// Pass: the node could not be observed. The result is [Unknown], or [Complete] for the first complete pass afterwards.
	Pass Act = "pass"
)

// The results that are not labels of a metric.
const (
	// Ending: the pod is being deleted, and should have ended long ago.
	Ending = "ending_too_long"
	// Listed: the address is still listed on another node.
	Listed = "still_listed"
	// Dropped: the address is no longer listed on another node.
	Dropped = "dropped_before"
	// Unknown: the node could not be observed.
	Unknown = "unknown"
	// Complete: the node could be observed again.
	Complete = "complete"
)

// Entry is an event, or several equal ones. Its JSON form is for scripts: fields may be added, but do not change.
type Entry struct {
	// First and Last are when it first and last happened, and Count how many times. The ring sets them.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`

	Act    Act    `json:"act"`
	Result string `json:"result,omitempty"`

	// Endpoint and Address are the object of the act; both may be missing.
	Endpoint hns.EndpointID `json:"endpoint,omitempty"`
	Address  netip.Addr     `json:"address,omitzero"`
	// Subject is another object of the act, such as the family of a record or a Service.
	Subject string `json:"subject,omitempty"`
	// Pods are the affected pods on this node, as namespace/name.
	Pods []string `json:"pods,omitempty"`

	// Verdict and Reason are the decision that the act is based on.
	Verdict verdict.Kind   `json:"verdict,omitempty"`
	Reason  verdict.Reason `json:"reason,omitempty"`
	// Before and After describe the endpoints with the address before and after a removal. They are missing if HNS was not
	// read, and empty if no endpoint had the address.
	Before []string `json:"before,omitzero"`
	After  []string `json:"after,omitzero"`
	// AfterSeconds is the time until a stale endpoint was removed, or an address was reused.
	AfterSeconds float64 `json:"afterSeconds,omitempty"`
	// Detail is the last error, or a reason.
	Detail string `json:"detail,omitempty"`
}

// Of returns an entry about a verdict.
func Of(act Act, result string, v verdict.Verdict) Entry {
	return Entry{
		Act: act, Result: result, Endpoint: v.Endpoint.ID, Address: v.Address(), Pods: Names(v.Pods...), Verdict: v.Kind,
		Reason: v.Reason,
	}
}

// Because returns the entry with the text of an error, if any.
func (e Entry) Because(err error) Entry {
	if err != nil {
		e.Detail = err.Error()
	}
	return e
}

// Took returns the entry with a duration.
func (e Entry) Took(d time.Duration) Entry {
	e.AfterSeconds = float64(d.Round(time.Millisecond).Milliseconds()) / 1000
	return e
}

// Names returns the names of pods.
func Names(pods ...cluster.PodID) []string {
	names := make([]string, 0, len(pods))
	for _, p := range pods {
		names = append(names, p.String())
	}
	return names
}
