// SPDX-License-Identifier: Apache-2.0

package kubeproxy

import (
	"errors"

	"k8s.io/apimachinery/pkg/util/version"
)

// Profile is what one version of kube-proxy is known to do on Windows.
type Profile struct {
	// Version is as it was found, or empty.
	Version string
	// Known is false when the version could not be read, and the profile is the careful one.
	Known bool
	// StaleRecord: it remembers the IPs of terminated endpoints, looks each up in HNS by IP at the end of every sync, and
	// deletes whatever endpoint it finds, a pod's own too. An EndpointSlice change clears the record.
	StaleRecord bool
	// BatchLeak: it forgets to delete remote endpoints when several Services change in one batch.
	BatchLeak bool
	// Duplicates: it never deletes a remote endpoint alongside a local one with the same IP, and may build load
	// balancers on it.
	Duplicates bool
	// GivenUpLeak: it forgets to delete remote endpoints if it gives up the sync in which EndpointSlices dropped them.
	GivenUpLeak bool
	// LosesLoadBalancers: after HNS did not answer for a moment, it may delete the load balancers of all Services.
	LosesLoadBalancers bool
}

// SyncsBetween is how many syncs have to end for one of them to have started after a moment: the first may have been
// running. On a dual-stack node the proxies of both families share one count, so that it takes twice as many.
//
// Source: RegisterMetrics in pkg/proxy/metrics/metrics.go of Kubernetes 1.31 to 1.33.
const SyncsBetween = 4

// CheckVersion returns an error if the version is not one that [ProfileOf] knows in full. An operator who gives a
// version without its patch would get the faults of its first one.
func CheckVersion(v string) error {
	parsed, err := version.ParseGeneric(v)
	if err != nil || parsed.Major() != 1 || len(parsed.Components()) < 3 {
		return errors.New(`must be a version such as "v1.32.3" or "v1.31.7-eks-abcdef"`)
	}
	return nil
}

// ProfileOf returns the profile of a version such as "v1.32.3" or "v1.31.7-eks-abcdef". What cannot be read gets the
// careful profile: every fault.
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

// Suspecting returns the profile with the faults of another one added. A doubt about the version may add faults; it
// takes none away.
func (p Profile) Suspecting(other Profile) Profile {
	p.StaleRecord = p.StaleRecord || other.StaleRecord
	p.BatchLeak = p.BatchLeak || other.BatchLeak
	p.Duplicates = p.Duplicates || other.Duplicates
	p.GivenUpLeak = p.GivenUpLeak || other.GivenUpLeak
	p.LosesLoadBalancers = p.LosesLoadBalancers || other.LosesLoadBalancers
	return p
}

// MayUpdateLoadBalancers reports whether this kube-proxy may change a load balancer in place on an HNS of a version
// such as "15.4", instead of deleting it and making another. What is not known counts as yes.
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

// LosesUnchanged reports whether this kube-proxy may lose the ClusterIP load balancer of a Service whose slices change
// while the backends stay as they are: it deletes the load balancer, and then takes it for one that is there. local is
// whether the internalTrafficPolicy of the Service is Local. What is not known counts as yes.
func (p Profile) LosesUnchanged(local bool) bool {
	parsed, err := version.ParseGeneric(p.Version)
	if err != nil || !p.Known || parsed.LessThan(version.MajorMinor(1, 31)) {
		return true
	}
	return local && losesLocal().affects(parsed)
}

// Outdated reports whether a later release is rid of a fault that the version has, or is taken to have.
func (p Profile) Outdated() bool { return p.StaleRecord || p.BatchLeak || p.Duplicates }

// Faults names the faults that the version has, or is taken to have. The last is every version's: kube-proxy takes a
// local endpoint that a CNI has left behind for the backend of a Service.
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

// never marks a minor version in which a fault was not fixed.
const never = ^uint(0)

// fault is the history of one fault: the minor version that brought it, and the first patch of each minor that is rid
// of it. A minor after the last one named never had it; one in between that is not named has it in every patch.
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

// The histories below were read in pkg/proxy/winkernel of the k8s.io/kubernetes module: in the last release that has
// the fault and the first that is rid of it, for every minor version.

// staleRecord came with kubernetes#124092 and went with #131138, which looks at the endpoint before it deletes it.
func staleRecord() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: 9, 32: 5, 33: 1}, gone: 34}
}

// batchLeak came with kubernetes#124092 and went with #135146, which clears the record once for each sync instead of
// once for each Service. Its pick to 1.31 was closed unmerged.
func batchLeak() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: never, 32: 10, 33: 6, 34: 2}, gone: 35}
}

// givenUpLeak is what #135146 made of the batch leak: the record is cleared before endpoints are listed. 1.31, which
// did not get it, keeps the record. (That load balancers are lost came with kubernetes#139503, in 1.37.)
func givenUpLeak(v *version.Version) bool { return v.Minor() > 31 && !batchLeak().affects(v) }

// duplicates went with kubernetes#138000, which was picked to 1.34, 1.35 and 1.36.
func duplicates() fault {
	return fault{fixedIn: map[uint]uint{34: 8, 35: 5, 36: 1}, gone: 37}
}

// losesLocal went with kubernetes#133953, which compares the load balancer that is there with one of local backends.
// Before 1.31 it is compared with one that has no virtual IP, whatever the policy.
func losesLocal() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: 14, 32: 10, 33: 6, 34: 2}, gone: 35}
}

// updatesAt154 are those whose hnslib takes HNS 15.4 to be able to update a load balancer; later ones do from 15.5 on.
// It came with 1.31, as all updates did.
func updatesAt154() fault {
	return fault{since: 31, fixedIn: map[uint]uint{31: never, 32: 6, 33: 2}, gone: 34}
}
