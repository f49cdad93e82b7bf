// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Invariant 3: each family has its own record, and an unknown record may hold every address.
func TestWhatTheRecordMayHold(t *testing.T) {
	v4, other, v6 := ip, netip.MustParseAddr("10.240.9.9"), netip.MustParseAddr("fd00::1")
	for name, tc := range map[string]struct {
		record verdict.Record
		holds  []netip.Addr
	}{
		"unknown":          {verdict.Record{}, []netip.Addr{v4, other, v6}},
		"IPv4 known":       {verdict.Record{KnownIPv4: true}, []netip.Addr{v6}},
		"IPv6 known":       {verdict.Record{KnownIPv6: true}, []netip.Addr{v4, other}},
		"both known":       {verdict.Record{KnownIPv4: true, KnownIPv6: true}, nil},
		"known, one drop":  {verdict.Record{KnownIPv4: true, KnownIPv6: true, Dropped: sets.New(v4)}, []netip.Addr{v4}},
		"known, v6 drop":   {verdict.Record{KnownIPv4: true, KnownIPv6: true, Dropped: sets.New(v6)}, []netip.Addr{v6}},
		"a drop of others": {verdict.Record{KnownIPv4: true, KnownIPv6: true, Dropped: sets.New(other)}, []netip.Addr{other}},
	} {
		t.Run(name, func(t *testing.T) {
			var holds []netip.Addr
			for _, addr := range []netip.Addr{v4, other, v6} {
				if tc.record.MayHold(addr) {
					holds = append(holds, addr)
				}
			}
			NewWithT(t).Expect(holds).To(Equal(tc.holds))
		})
	}
}

func TestWhichKeepsAreWanted(t *testing.T) {
	hidden := func(w *world) {
		s := slice("hidden", listing(ip, "lin-1"))
		s.Labels[cluster.LabelServiceProxyName] = "x"
		w.slices = append(w.slices, s)
	}
	withoutService := func(w *world) {
		s := slice("bare", listing(ip, "lin-1"))
		s.Labels = nil
		w.slices = append(w.slices, s)
	}
	another := func(w *world) { w.slices = append(w.slices, slice("other", listing(ip, "lin-2"))) }
	noPod := func(w *world) { w.pods = nil }
	leftBehind := func(w *world) { w.local.Namespace, w.local.Seen = "", now.Add(-time.Hour) }
	arriving := func() world {
		w := early()
		w.kubeProxy = staleProx
		return w
	}
	stale := func() world {
		w := conflicting()
		w.kubeProxy = staleProx
		return w
	}
	for name, tc := range map[string]struct {
		from   func() world
		change func(*world)
		wanted []string
	}{
		"listed elsewhere":                 {stale, lists("lin-1"), []string{"svc"}},
		"listed elsewhere, not ready":      {stale, lists("lin-1", notReady), []string{"svc"}},
		"by two Services":                  {stale, both(lists("lin-1"), another), []string{"svc", "other"}},
		"listed nowhere":                   {stale, func(*world) {}, nil},
		"listed here":                      {stale, lists(node), nil},
		"for another proxy":                {stale, hidden, nil},
		"without a Service":                {stale, withoutService, nil},
		"kept by another node":             {stale, keeps("svc", "win-2"), []string{"svc"}},
		"kept by this node":                {stale, keeps("svc", node), []string{"svc"}},
		"kept by this node, for another":   {stale, both(keeps("svc", node), noPod), []string{"svc"}},
		"kept by this node, left behind":   {stale, both(keeps("svc", node), both(noPod, leftBehind)), nil},
		"kept by this node, gone":          {stale, both(keeps("svc", node), func(w *world) { w.hasLocal = false }), nil},
		"kept by another node, no pod":     {stale, both(keeps("svc", "win-2"), noPod), nil},
		"a kube-proxy without the fault":   {conflicting, lists("lin-1"), nil},
		"an overlay network":               {stale, both(lists("lin-1"), func(w *world) { w.network.Type = hns.NetworkOverlay }), nil},
		"a pod that is being deleted":      {stale, both(lists("lin-1"), withPod(deleting)), []string{"svc"}},
		"a pod that has ended":             {stale, both(lists("lin-1"), withPod(succeeded)), nil},
		"a pod of the host's network":      {stale, both(lists("lin-1"), withPod(hostNetwork)), nil},
		"no pod":                           {stale, both(lists("lin-1"), noPod), nil},
		"no local endpoint":                {stale, both(lists("lin-1"), func(w *world) { w.hasLocal = false }), nil},
		"a local one that is not attached": {stale, both(lists("lin-1"), func(w *world) { w.local.Namespace = "" }), nil},
		"an endpoint that arrives":         {arriving, lists("lin-1"), []string{"svc"}},
		"one that was there before":        {arriving, both(lists("lin-1"), func(w *world) { w.local.Appeared = now.Add(-1e12) }), nil},
		"a Service's address": {stale, both(lists("lin-1"), func(w *world) {
			w.servicesWatched = true
			w.services = []*corev1.Service{{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "vip"},
				Spec:       corev1.ServiceSpec{ClusterIP: ip.String(), ClusterIPs: []string{ip.String()}},
			}}
		}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := tc.from()
			tc.change(&w)
			wanted := sets.New[cluster.Keep]()
			for _, service := range tc.wanted {
				wanted.Insert(cluster.Keep{
					Service: types.NamespacedName{Namespace: "default", Name: service}, Node: node, Address: ip,
				})
			}
			NewWithT(t).Expect(verdict.WantedKeeps(w.evidence())).To(Equal(wanted))
		})
	}
}

// A verdict names the keep-slices of its address, only on the pod network.
func TestAVerdictNamesWhatIsKept(t *testing.T) {
	g := NewWithT(t)
	w := conflicting()
	keeps("svc", node)(&w)
	elsewhere := w.local
	elsewhere.ID, elsewhere.Network = "elsewhere", natNet
	bare := w.local
	bare.ID, bare.Addresses = "bare", nil
	w.more = append(w.more, elsewhere, bare)
	kept := map[hns.EndpointID]int{}
	for _, v := range verdict.Decide(w.evidence()) {
		kept[v.Endpoint.ID] = len(v.Keeps)
	}
	g.Expect(kept).To(Equal(map[hns.EndpointID]int{remoteID: 1, w.local.ID: 1, "elsewhere": 0, "bare": 0}))
}
