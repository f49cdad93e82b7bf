// SPDX-License-Identifier: Apache-2.0

package kubeproxy

import (
	"errors"

	"k8s.io/apimachinery/pkg/util/version"
)

// Profile has the known faults of one version of kube-proxy on Windows.
type Profile struct {
	// Version is the version as found, or empty.
	Version string
	// Known is false if the version could not be read. Then the profile has every fault.
	Known bool
	// StaleRecord: it remembers the IPs of terminated endpoints, looks each one up in HNS by IP at the end of every sync,
	// and deletes whichever endpoint it finds, even a pod's own. A change of an EndpointSlice clears the record.
	StaleRecord bool
	// BatchLeak: it forgets to delete remote endpoints when several Services change in one batch.
	BatchLeak bool
	// Duplicates: it never deletes a remote endpoint if a local one has the same IP, and may build load balancers on it.
	Duplicates bool
	// GivenUpLeak: it forgets to delete the remote endpoints that EndpointSlices dropped in a sync that it gives up.
	GivenUpLeak bool
	// LosesLoadBalancers: after HNS fails to answer briefly, it may delete the load balancers of all Services.
	LosesLoadBalancers bool
}

// SyncsBetween is how many syncs must end to prove that one of them started after a given moment: the first may already
// have been running. On a dual-stack node the proxies of both families share one count, so twice as many are needed.
//
// Source: RegisterMetrics in pkg/proxy/metrics/metrics.go of Kubernetes 1.31 to 1.33.
const SyncsBetween = 4

// CheckVersion returns an error if [ProfileOf] would not know all faults of the version. A version without its patch
// would count as the first patch.
func CheckVersion(v string) error {
	parsed, err := version.ParseGeneric(v)
	if err != nil || parsed.Major() != 1 || len(parsed.Components()) < 3 {
		return errors.New(`must be a version such as "v1.32.3" or "v1.31.7-eks-abcdef"`)
	}
	return nil
}

// ProfileOf returns the profile of a version such as "v1.32.3" or "v1.31.7-eks-abcdef". A version that cannot be read
// has every fault.
func ProfileOf(v string) Profile {
	parsed, err := version.ParseGeneric(v)
	if err != nil || parsed.Major() != 1 {
		return Profile{
			Version: v, StaleRecord: true, BatchLeak: true, Duplicates: true, GivenUpLeak: true, LosesLoadBalancers: true,
		}
	}
	return Profile{
		Version:            v,
		Known:              true,
		StaleRecord:        staleRecord().affects(parsed),
		BatchLeak:          batchLeak().affects(parsed),
		Duplicates:         duplicates().affects(parsed),
		GivenUpLeak:        givenUpLeak(parsed),
		LosesLoadBalancers: parsed.AtLeast(version.MajorMinor(1, 37)),
	}
}

// Suspecting returns the profile with the faults of another one added (invariant 2).
func (p Profile) Suspecting(other Profile) Profile {
	p.StaleRecord = p.StaleRecord || other.StaleRecord
	p.BatchLeak = p.BatchLeak || other.BatchLeak
	p.Duplicates = p.Duplicates || other.Duplicates
	p.GivenUpLeak = p.GivenUpLeak || other.GivenUpLeak
	p.LosesLoadBalancers = p.LosesLoadBalancers || other.LosesLoadBalancers
	return p
}

// MayUpdateLoadBalancers reports whether this kube-proxy may update a load balancer in place on an HNS of a version
// such as "15.4", instead of deleting and recreating it. If this is unknown, it returns true.
func (p Profile) MayUpdateLoadBalancers(hnsVersion string) bool {
	has, err := version.ParseGeneric(hnsVersion)
	switch {
	case err != nil || has.AtLeast(version.MajorMinor(15, 5)):
		return true
	case has.LessThan(version.MajorMinor(15, 4)):
		return false
	}
	parsed, err := version.ParseGeneric(p.Version)
	return err != nil || !p.Known || parsed.Major() != 1 || updatesAt154().affects(parsed)
}

// LosesUnchanged reports whether this kube-proxy may lose the ClusterIP load balancer of a Service if its slices change
// but its backends do not: it deletes the load balancer, and then believes that it still exists. local is whether the
// internalTrafficPolicy of the Service is Local. If this is unknown, it returns true.
func (p Profile) LosesUnchanged(local bool) bool {
	parsed, err := version.ParseGeneric(p.Version)
	if err != nil || !p.Known || parsed.LessThan(version.MajorMinor(1, 31)) {
		return true
	}
	return local && losesLocal().affects(parsed)
}

// Outdated reports whether a later release fixes a fault that the version has, or counts as having.
func (p Profile) Outdated() bool { return p.StaleRecord || p.BatchLeak || p.Duplicates }

// Faults returns the names of the faults that the version has, or counts as having. Every version has the last one:
// kube-proxy uses a local endpoint that a CNI has left behind as the backend of a Service.
func (p Profile) Faults() []string {
	faults := []string{}
	for _, f := range []struct {
		has  bool
		name string
	}{
		{p.StaleRecord, "stale-record"},
		{p.BatchLeak, "batch-leak"},
		{p.Duplicates, "duplicates"},
		{p.GivenUpLeak, "given-up-leak"},
		{p.LosesLoadBalancers, "loses-load-balancers"},
		{true, "builds-on-leaked-locals"},
	} {
		if f.has {
			faults = append(faults, f.name)
		}
	}
	return faults
}

// never marks a minor version in which a fault is not fixed.
const never = ^uint(0)

// fault is the history of one fault: the minor version that introduced it, the first fixed patch of each minor version,
// and the first minor version without it. A minor version in between that is not in fixedIn has the fault in every
// patch.
type fault struct {
	since   uint
	fixedIn map[uint]uint
	gone    uint
}

func (f fault) affects(v *version.Version) bool {
	if v.Minor() < f.since || v.Minor() >= f.gone {
		return false
	}
	first, fixed := f.fixedIn[v.Minor()]
	return !fixed || v.Patch() < first
}

// The histories below come from pkg/proxy/winkernel of the k8s.io/kubernetes module: for every minor version, the last
// release with the fault and the first one without it were read.

// staleRecord: kubernetes#124092 introduced it. #131138 fixed it: it checks the endpoint before deleting it.
func staleRecord() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: 9, 32: 5, 33: 1}, gone: 34}
}

// batchLeak: kubernetes#124092 introduced it. #135146 fixed it: it clears the record once per sync instead of once per
// Service. Its cherry-pick to 1.31 was closed unmerged.
func batchLeak() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: never, 32: 10, 33: 6, 34: 2}, gone: 35}
}

// givenUpLeak: #135146 introduced it together with the fix of batchLeak: the record is cleared before endpoints are
// listed. 1.31, which did not get the fix, keeps the record. (LosesLoadBalancers came with kubernetes#139503 in 1.37.)
func givenUpLeak(v *version.Version) bool { return v.Minor() > 31 && !batchLeak().affects(v) }

// duplicates: kubernetes#138000 fixed it, with cherry-picks to 1.34, 1.35 and 1.36.
func duplicates() fault {
	return fault{fixedIn: map[uint]uint{34: 8, 35: 5, 36: 1}, gone: 37}
}

// losesLocal: kubernetes#133953 fixed it: the existing load balancer is compared with one of local backends. Before
// 1.31 it is compared with one that has no virtual IP, whatever the policy.
func losesLocal() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: 14, 32: 10, 33: 6, 34: 2}, gone: 35}
}

// updatesAt154: versions whose hnslib assumes that HNS 15.4 can update load balancers; later versions assume it from
// 15.5 on. Updates were introduced in 1.31.
func updatesAt154() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: never, 32: 6, 33: 2}, gone: 34}
}
