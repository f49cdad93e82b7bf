// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Filter selects endpoints. An endpoint has to match one element of each list that is not empty.
type Filter struct {
	Addresses []netip.Addr
	// Pods select the endpoints with their addresses, whatever node they are on.
	Pods     []types.NamespacedName
	Verdicts []verdict.Kind
}

// Verdicts are the verdicts that a report may hold.
func Verdicts() []verdict.Kind { return append(verdict.Kinds(), KindUnknown) }

// validate refuses a Pod that the cluster does not have: its endpoints are unknown, not none.
func (f Filter) validate(dump recording.Cluster) error {
	var errs []error
	for _, name := range f.Pods {
		if _, found := podIn(dump, name); !found {
			errs = append(errs, fmt.Errorf("there is no Pod %s in the cluster dump%s", name, nearPods(dump, name)))
		}
	}
	return errors.Join(errs...)
}

// nearPods suggests a recorded Pod whose name begins with that of the missing one: a Deployment's name is often given
// for its Pod's.
func nearPods(dump recording.Cluster, missing types.NamespacedName) string {
	for _, p := range dump.Pods {
		if p.Namespace == missing.Namespace && strings.HasPrefix(p.Name, missing.Name) {
			return fmt.Sprintf("; did you mean %s/%s?", p.Namespace, p.Name)
		}
	}
	return ""
}

// apply returns the rows that the filter selects, and notes on what it selects nothing by. The pods are those that it
// names, all of which are known.
func (f Filter) apply(rows []Row, dump recording.Cluster, named []Pod) (selected []Row, notes []string) {
	for _, addr := range f.Addresses {
		if !slices.ContainsFunc(rows, func(r Row) bool { return slices.Contains(r.Addresses, addr) }) {
			notes = append(notes, fmt.Sprintf("HNS has no endpoint with the address %s", addr))
		}
	}
	for _, name := range f.Pods {
		if !slices.ContainsFunc(rows, func(r Row) bool { return f.isOf(r, name, dump) }) {
			i := slices.IndexFunc(named, func(p Pod) bool { return p.Name == name.String() })
			notes = append(notes, named[i].missing())
		}
	}
	for _, r := range rows {
		switch {
		case len(f.Addresses) > 0 && !intersect(f.Addresses, r.Addresses):
		case len(f.Pods) > 0 && !slices.ContainsFunc(f.Pods, func(name types.NamespacedName) bool {
			return f.isOf(r, name, dump)
		}):
		case len(f.Verdicts) > 0 && !slices.Contains(f.Verdicts, verdict.Kind(r.Verdict)):
		default:
			selected = append(selected, r)
		}
	}
	return selected, notes
}

// isOf reports whether an endpoint has to do with a Pod: it has an address of the Pod, or its verdict rests on it.
func (f Filter) isOf(r Row, pod types.NamespacedName, dump recording.Cluster) bool {
	return slices.Contains(r.Pods, pod.String()) || intersect(addressesOf(dump, pod), r.Addresses)
}

func addressesOf(dump recording.Cluster, name types.NamespacedName) []netip.Addr {
	pod, found := podIn(dump, name)
	if !found {
		return nil
	}
	return cluster.PodOf(pod).Addresses
}

func podIn(dump recording.Cluster, name types.NamespacedName) (*corev1.Pod, bool) {
	i := slices.IndexFunc(dump.Pods, func(p *corev1.Pod) bool {
		return p.Namespace == name.Namespace && p.Name == name.Name
	})
	if i < 0 {
		return nil, false
	}
	return dump.Pods[i], true
}

func intersect(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(addr netip.Addr) bool { return slices.Contains(b, addr) })
}
