// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const (
	node                       = "win-1"
	remoteID    hns.EndpointID = "remote"
	localID     hns.EndpointID = "local"
	podNet      hns.NetworkID  = "pods"
	natNet      hns.NetworkID  = "nat"
	grace                      = 5 * time.Minute
	urgentGrace                = 5 * time.Second
	staleProx                  = "v1.32.3"
	goodProx                   = "v1.37.2"
)

var (
	ip  = netip.MustParseAddr("10.240.0.11")
	now = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
)

// world is the start of a row, which changes it: the remote endpoint in question is always the first of the snapshot.
type world struct {
	remote, local                 verdict.Endpoint
	hasLocal                      bool
	pods                          []*corev1.Pod
	slices                        []*discoveryv1.EndpointSlice
	services                      []*corev1.Service
	servicesWatched               bool
	balancers                     []hns.LoadBalancer
	balancersKnown                bool
	kubeProxy                     string
	network                       hns.Network
	exclusions                    []netip.Prefix
	unclaimedFor                  time.Duration
	unclaimedUnknown, slicesEmpty bool
	urgent                        bool
	// forgotten is set if kube-proxy's record is known to hold only the addresses that were dropped.
	forgotten bool
	dropped   sets.Set[netip.Addr]
	// waitingFor is how long each pod without an address has been waiting, except for those in waited, by name. A negative
	// value means that this is unknown. balancersRead is when load balancers were read.
	waitingFor    time.Duration
	waited        map[types.UID]time.Duration
	balancersRead time.Time
	more          []verdict.Endpoint
	// elsewhere are pods on other nodes with the address, on the API server.
	elsewhere []*corev1.Pod
}

// idle returns a world with nothing but a remote endpoint, and a kube-proxy without faults.
func idle() world {
	return world{
		remote: verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: remoteID, Network: podNet, Addresses: []netip.Addr{ip}, MAC: kubeproxy.RemoteMAC(ip), Flags: hns.FlagRemote,
		}},
		local: verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: localID, Network: podNet, Addresses: []netip.Addr{ip}, Namespace: "ns",
		}},
		balancersKnown: true, balancersRead: now, kubeProxy: goodProx, unclaimedFor: grace, waitingFor: 2 * time.Second,
		network: hns.Network{ID: podNet, Name: "azure", Type: hns.NetworkL2Bridge},
	}
}

// orphaned returns a world in which the remote endpoint is removed because nothing uses it.
func orphaned() world { return idle() }

// conflicting returns a world in which the remote endpoint is removed because a pod on this node has its address.
func conflicting() world {
	w := idle()
	w.hasLocal = true
	w.pods = []*corev1.Pod{pod("web")}
	return w
}

// conflictingIPv6 is conflicting with an address that the API server cannot look up.
func conflictingIPv6() world {
	w := conflicting()
	ipv6(node)(&w)
	return w
}

// early returns a world in which it is removed because a pod is about to report its address.
func early() world {
	w := idle()
	w.hasLocal, w.local.Appeared = true, now.Add(-time.Second)
	w.pods = []*corev1.Pod{pod("web", withoutAddress)}
	return w
}

func (w world) evidence() verdict.Evidence {
	index := cluster.NewIndex(node)
	for _, p := range w.pods {
		index.SetPod(p)
	}
	if !w.slicesEmpty {
		index.SetSlice(cluster.SliceOf(slice("kubernetes", listing(netip.MustParseAddr("10.0.0.4"), ""))))
	}
	for _, s := range w.slices {
		index.SetSlice(cluster.SliceOf(s))
	}
	if w.servicesWatched {
		index.ReplaceServices(nil)
	}
	for _, s := range w.services {
		index.SetService(s)
	}
	endpoints := []verdict.Endpoint{w.remote}
	if w.hasLocal {
		endpoints = append(endpoints, w.local)
	}
	endpoints = append(endpoints, w.more...)
	waiting := map[types.UID]time.Time{}
	for _, p := range index.View(nil).Waiting() {
		if waited := cmp.Or(w.waited[p.UID], w.waitingFor); waited >= 0 {
			waiting[p.UID] = now.Add(-waited)
		}
	}
	e := verdict.Evidence{
		Snapshot: verdict.Snapshot{
			Network: w.network, Endpoints: endpoints, LoadBalancers: w.balancers, LoadBalancersKnown: w.balancersKnown,
			LoadBalancersRead: w.balancersRead,
		},
		WaitingSince: waiting,
		Cluster:      index.View(append([]netip.Addr{ip}, w.remote.Addresses...)),
		KubeProxy:    kubeproxy.ProfileOf(w.kubeProxy),
		Policy: verdict.Policy{
			Exclusions: w.exclusions, OrphanGrace: grace, OrphanGraceUrgent: urgentGrace,
		},
		Urgent:         w.urgent,
		UnclaimedSince: map[hns.EndpointID]time.Time{remoteID: now.Add(-w.unclaimedFor)},
		Now:            now,
		Elsewhere:      map[netip.Addr][]cluster.Pod{},
	}
	for _, p := range w.elsewhere {
		e.Elsewhere[ip] = append(e.Elsewhere[ip], cluster.PodOf(p))
	}
	if w.forgotten {
		e.Record = verdict.Record{KnownIPv4: true, KnownIPv6: true, Dropped: w.dropped}
	}
	if w.unclaimedUnknown {
		e.UnclaimedSince = nil
	}
	return e
}

func pod(name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	p.Spec.NodeName = node
	p.Status.Phase = corev1.PodRunning
	p.Status.PodIPs = []corev1.PodIP{{IP: ip.String()}}
	for _, change := range changes {
		change(p)
	}
	return p
}

// local makes the endpoint in question a local, unattached one.
func local(changes ...func(*verdict.Endpoint)) func(*world) {
	return func(w *world) {
		w.remote.Flags = 0
		for _, change := range changes {
			change(&w.remote)
		}
	}
}

func attach(e *verdict.Endpoint) { e.Namespace = "another" }

func name(name string) func(*verdict.Endpoint) { return func(e *verdict.Endpoint) { e.Name = name } }

func seen(ago time.Duration) func(*verdict.Endpoint) {
	return func(e *verdict.Endpoint) { e.Seen = now.Add(-ago) }
}

// oneMore adds an unattached local endpoint.
func oneMore(changes ...func(*verdict.Endpoint)) func(*world) {
	return func(w *world) {
		e := verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: "another", Network: podNet, Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.12")},
		}}
		for _, change := range changes {
			change(&e)
		}
		w.more = append(w.more, e)
	}
}

func withoutAddress(p *corev1.Pod) { p.Status.PodIPs, p.Status.Phase = nil, corev1.PodPending }
func deleting(p *corev1.Pod)       { p.DeletionTimestamp = &metav1.Time{Time: now} }
func succeeded(p *corev1.Pod)      { p.Status.Phase = corev1.PodSucceeded }
func failed(p *corev1.Pod)         { p.Status.Phase = corev1.PodFailed }
func hostNetwork(p *corev1.Pod)    { p.Spec.HostNetwork = true }
func onOtherNode(p *corev1.Pod)    { p.Spec.NodeName = "win-2" }

func hostProcess(p *corev1.Pod) {
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: new(true)},
	}
}

func slice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name},
		},
		Endpoints: endpoints,
	}
}

func listing(addr netip.Addr, onNode string, changes ...func(*discoveryv1.EndpointConditions)) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{addr.String()}}
	if onNode != "" {
		e.NodeName = &onNode
	}
	for _, change := range changes {
		change(&e.Conditions)
	}
	return e
}

func notReady(c *discoveryv1.EndpointConditions)    { c.Ready = new(false) }
func serving(c *discoveryv1.EndpointConditions)     { c.Serving = new(true) }
func terminating(c *discoveryv1.EndpointConditions) { c.Terminating = new(true) }

// lists makes a slice list the address on a node.
func lists(onNode string, changes ...func(*discoveryv1.EndpointConditions)) func(*world) {
	return func(w *world) { w.slices = append(w.slices, slice("svc", listing(ip, onNode, changes...))) }
}

// keeps makes a node keep the address listed for a Service.
func keeps(service, onNode string) func(*world) {
	return func(w *world) {
		keep := cluster.Keep{
			Service: types.NamespacedName{Namespace: "default", Name: service}, Node: onNode, Address: ip,
		}
		s := slice(keep.Name(), listing(ip, "", notReady))
		s.Labels = map[string]string{
			discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: cluster.ManagedByKeep,
		}
		s.Annotations = map[string]string{cluster.AnnotationNode: onNode}
		w.slices = append(w.slices, s)
	}
}

func withPod(changes ...func(*corev1.Pod)) func(*world) {
	return func(w *world) { w.pods = []*corev1.Pod{pod("web", changes...)} }
}

// Each rule has a row in which it decides, and each guard a row in which it alone saves the endpoint: without the row's
// change, the endpoint is removed.
func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		name   string
		from   func() world
		change func(*world)
		kind   verdict.Kind
		reason verdict.Reason
	}{
		// The three rules that remove.
		{"a live pod has it", conflicting, func(*world) {}, verdict.Conflict, verdict.ReasonLivePod},
		{"a pod is about to have it", early, func(*world) {}, verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"nothing has it", orphaned, func(*world) {}, verdict.Orphan, verdict.ReasonUnclaimed},

		// Conflict: slices do not save an endpoint whose address a live pod holds, unless kube-proxy has the stale record.
		{"slice lag", conflicting, lists("lin-1"), verdict.Conflict, verdict.ReasonLivePod},
		{"reuse before drop", conflicting, lists("lin-1", notReady, serving, terminating), verdict.Conflict, verdict.ReasonLivePod},
		{"the pod's own Service", conflicting, lists(node), verdict.Conflict, verdict.ReasonLivePod},
		{"the grace period is not for conflicts", conflicting, func(w *world) { w.unclaimedFor = 0 }, verdict.Conflict, verdict.ReasonLivePod},
		{"a load balancer does not save a conflict", conflicting, refers, verdict.Conflict, verdict.ReasonLivePod},
		{"stale record, dropped and forgotten", conflicting, both(proxy(staleProx), forgotten), verdict.Conflict, verdict.ReasonLivePod},
		{"stale record, listed elsewhere and kept", conflicting, both(proxy(staleProx), lists("lin-1"), keeps("svc", node), forgotten), verdict.Conflict, verdict.ReasonLivePod},
		{"stale record, own Service", conflicting, both(proxy(staleProx), lists(node), forgotten), verdict.Conflict, verdict.ReasonLivePod},

		// Guards of a conflict.
		{"held: ready elsewhere", conflicting, both(proxy(staleProx), lists("lin-1")), verdict.Held, verdict.ReasonStaleRecord},
		{"held: terminating elsewhere", conflicting, both(proxy(staleProx), lists("lin-1", notReady, terminating)), verdict.Held, verdict.ReasonStaleRecord},
		{"held: another node keeps it", conflicting, both(proxy(staleProx), lists("lin-1"), keeps("svc", "win-2"), forgotten), verdict.Held, verdict.ReasonStaleRecord},
		{"held: kept for another Service", conflicting, both(proxy(staleProx), lists("lin-1"), keeps("other", node), forgotten), verdict.Held, verdict.ReasonStaleRecord},
		{"held: kept, but dropped before", conflicting, both(proxy(staleProx), lists("lin-1"), keeps("svc", node), forgotten, dropped), verdict.Held, verdict.ReasonMayRemember},
		{"held: kept, dropped, and the record unknown", conflicting, both(proxy(staleProx), keeps("svc", node)), verdict.Held, verdict.ReasonMayRemember},
		{"held: kube-proxy unknown", conflicting, both(proxy(""), lists("lin-1")), verdict.Held, verdict.ReasonStaleRecord},
		{"held: dropped, but kube-proxy may remember it", conflicting, proxy(staleProx), verdict.Held, verdict.ReasonMayRemember},
		{"held: listed again after it was forgotten", conflicting, both(proxy(staleProx), forgotten, lists("lin-1", notReady)), verdict.Held, verdict.ReasonStaleRecord},
		{"held: kube-proxy unknown, and may remember it", conflicting, proxy(""), verdict.Held, verdict.ReasonMayRemember},
		{"held: no slices known", conflicting, both(proxy(staleProx), func(w *world) { w.slicesEmpty = true }), verdict.Held, verdict.ReasonStaleRecord},
		{"the pod is being deleted", conflicting, withPod(deleting), verdict.Contested, verdict.ReasonPodDeleting},
		{"being deleted, listed elsewhere", conflicting, both(withPod(deleting), lists("lin-1")), verdict.Contested, verdict.ReasonPodDeleting},
		{"no local endpoint", conflicting, func(w *world) { w.hasLocal = false }, verdict.Contested, verdict.ReasonNoLocalEndpoint},
		{"local endpoint not attached", conflicting, func(w *world) { w.local.Namespace = "" }, verdict.Contested, verdict.ReasonNoLocalEndpoint},
		{"local endpoint on another network", conflicting, func(w *world) { w.local.Network = natNet }, verdict.Contested, verdict.ReasonNoLocalEndpoint},
		{"a finished hostNetwork pod protects nothing", conflicting, func(w *world) { w.pods = append(w.pods, pod("done", hostNetwork, succeeded)) }, verdict.Conflict, verdict.ReasonLivePod},
		{"hostNetwork pod", conflicting, withPod(hostNetwork), verdict.Protected, verdict.ReasonNodeAddress},
		{"HostProcess pod", conflicting, withPod(hostProcess), verdict.Protected, verdict.ReasonNodeAddress},
		{"the pod has succeeded, ready elsewhere", conflicting, both(withPod(succeeded), lists("lin-1")), verdict.LeakedLocal, verdict.ReasonListedReady},
		{"the pod has failed, ready elsewhere", conflicting, both(withPod(failed), lists("lin-1")), verdict.LeakedLocal, verdict.ReasonListedReady},
		{"the pod is another node's", conflicting, both(withPod(onOtherNode), lists("win-2")), verdict.LeakedLocal, verdict.ReasonListedReady},
		{"excluded", conflicting, exclude("10.240.0.0/16"), verdict.Protected, verdict.ReasonExcluded},
		{"another exclusion does not save it", conflicting, exclude("10.241.0.0/16"), verdict.Conflict, verdict.ReasonLivePod},
		{"a Service's address", conflicting, vip, verdict.Protected, verdict.ReasonVIP},
		{"a Service's address, for which kube-proxy makes no endpoint", conflicting, func(w *world) {
			vip(w)
			w.network.Type = hns.NetworkL2Bridge
		}, verdict.Conflict, verdict.ReasonLivePod},
		{"a pod on another node has it", conflicting, podElsewhere(), verdict.Contested, verdict.ReasonPodElsewhere},
		{"a hostNetwork pod on another node has it", conflicting, podElsewhere(hostNetwork), verdict.Contested, verdict.ReasonPodElsewhere},
		{"held, and a pod on another node has it", conflicting, both(proxy(staleProx), podElsewhere()), verdict.Contested, verdict.ReasonPodElsewhere},
		{"slice lag: the pod on another node is being deleted", conflicting, both(lists("lin-1"), podElsewhere(deleting)), verdict.Conflict, verdict.ReasonLivePod},
		{"one pod on another node is being deleted, and one is not", conflicting, both(podElsewhere(deleting), podElsewhere()), verdict.Contested, verdict.ReasonPodElsewhere},
		{"IPv6, ready elsewhere", conflicting, ipv6("lin-1"), verdict.Contested, verdict.ReasonListedReady},
		{"IPv6, not ready elsewhere", conflicting, ipv6("lin-1", notReady), verdict.Conflict, verdict.ReasonLivePod},
		{"IPv6, the pod's own Service", conflicting, ipv6(node), verdict.Conflict, verdict.ReasonLivePod},
		{"conflict: the remote is on another network", conflicting, func(w *world) { w.remote.Network = natNet }, verdict.Foreign, verdict.ReasonOtherNetwork},
		{"conflict: not made by kube-proxy", conflicting, func(w *world) { w.remote.MAC = hns.MAC{0x0e, 0x2a} }, verdict.Foreign, verdict.ReasonOtherMaker},
		{"conflict: not remote", conflicting, func(w *world) { w.remote.Flags = 32 }, verdict.Local, verdict.ReasonLocalBesidePods},

		// An early conflict, and its guards.
		{"early, terminating elsewhere", early, lists("lin-1", notReady, terminating), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, serving on this node", early, lists(node, notReady, serving), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, terminating elsewhere and still serving", early, lists("lin-1", notReady, serving, terminating), verdict.InUse, verdict.ReasonListed},
		{"early, the local endpoint was there before the pod began to wait", early, both(fresh, func(w *world) { w.waitingFor = 0 }), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, the local endpoint may have appeared before the pod began to wait", early, both(fresh, func(w *world) { w.waitingFor = time.Second - 1 }), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, two new endpoints and one pod that waits", early, both(fresh, another), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, two new endpoints and two pods that wait", early, both(another, func(w *world) { w.pods = append(w.pods, pod("two", withoutAddress)) }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, each of two new endpoints came after one more pod began to wait", early, arrivals(1500*time.Millisecond, 3*time.Second, 1200*time.Millisecond), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, whichever of the two pods began first", early, arrivals(1500*time.Millisecond, 1200*time.Millisecond, 3*time.Second), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, of two pods the one named later began first", early, both(arrivals(time.Second, 3*time.Second, 1200*time.Millisecond), func(w *world) { w.local.Appeared = now.Add(-2 * time.Second) }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, both of two new endpoints came before the second pod began to wait", early, both(fresh, arrivals(1500*time.Millisecond, 3*time.Second, 500*time.Millisecond)), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, it is unknown since when the pod waits", early, both(fresh, func(w *world) { w.waitingFor = -1 }), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, an endpoint was left behind before", early, more(func(e *verdict.Endpoint) { e.Appeared = now.Add(-time.Hour) }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, an endpoint was left behind before hnsguard started", early, more(func(e *verdict.Endpoint) { e.Appeared = time.Time{} }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, another endpoint appears on another network", early, more(func(e *verdict.Endpoint) { e.Network = natNet }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, another remote endpoint appears", early, more(func(e *verdict.Endpoint) { e.Flags = hns.FlagRemote }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, another endpoint appears that is attached to nothing", early, more(func(e *verdict.Endpoint) { e.Namespace = "" }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, two new endpoints of which a pod has one", early, both(another, func(w *world) { w.pods = append(w.pods, pod("two", withAddress("10.240.0.12"))) }), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, a pod on another node has it", early, podElsewhere(), verdict.Contested, verdict.ReasonPodElsewhere},
		{"early, a pod on another node is being deleted", early, podElsewhere(deleting), verdict.Contested, verdict.ReasonPodElsewhere},
		{"early, a pod on this node had the address and has succeeded", early, earlier(succeeded), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, a pod on this node had the address and has failed", early, earlier(failed), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, forgotten", early, both(proxy(staleProx), forgotten), verdict.EarlyConflict, verdict.ReasonNewEndpoint},
		{"early, kube-proxy may remember it", early, proxy(staleProx), verdict.Held, verdict.ReasonMayRemember},
		{"early, held", early, both(proxy(staleProx), lists("lin-1", notReady, terminating)), verdict.Held, verdict.ReasonStaleRecord},
		{"early, ready elsewhere", early, lists("lin-1"), verdict.LeakedLocal, verdict.ReasonListedReady},
		{"early, ready outside the cluster", early, lists(""), verdict.LeakedLocal, verdict.ReasonListedReady},
		{"early, the local endpoint was there before", early, func(w *world) { w.local.Appeared = time.Time{}; w.unclaimedFor = 0 }, verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, not attached", early, func(w *world) { w.local.Namespace = ""; w.unclaimedFor = 0 }, verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, on another network", early, func(w *world) { w.local.Network = natNet; w.unclaimedFor = 0 }, verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, no pod waits", early, func(w *world) { w.pods = nil; w.unclaimedFor = 0 }, verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, only a hostNetwork pod waits", early, both(withPod(withoutAddress, hostNetwork), fresh), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, the waiting pod is being deleted", early, both(withPod(withoutAddress, deleting), fresh), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, the waiting pod is another node's", early, both(withPod(withoutAddress, onOtherNode), fresh), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"early, no slices known", early, func(w *world) { w.slicesEmpty = true }, verdict.OrphanPending, verdict.ReasonNoSlices},

		// Leaked locals: the remote endpoint is the valid one.
		{"leaked local, attached", orphaned, both(leaked("ns"), lists("lin-1")), verdict.LeakedLocal, verdict.ReasonListedReady},
		{"leaked local, attached to nothing", orphaned, both(leaked(""), lists("lin-1")), verdict.LeakedLocal, verdict.ReasonListedReady},
		{"leaked local, not ready elsewhere", orphaned, both(leaked(""), lists("lin-1", notReady)), verdict.InUse, verdict.ReasonListed},
		{"leaked local, no slice lists it", orphaned, leaked(""), verdict.Orphan, verdict.ReasonUnclaimed},

		// Guards of an orphan.
		{"ready on another node", orphaned, lists("lin-1"), verdict.InUse, verdict.ReasonListedReady},
		{"serving on another node", orphaned, lists("lin-1", notReady, serving), verdict.InUse, verdict.ReasonListed},
		{"terminating on another node", orphaned, lists("lin-1", notReady, terminating), verdict.InUse, verdict.ReasonListed},
		{"listed on another node, not ready", orphaned, lists("lin-1", notReady), verdict.InUse, verdict.ReasonListed},
		{"an address outside the cluster", orphaned, lists(""), verdict.InUse, verdict.ReasonListedReady},
		{"listed on this node", orphaned, lists(node), verdict.InUse, verdict.ReasonListedHere},
		{"a live pod without a local endpoint", orphaned, withPod(), verdict.Contested, verdict.ReasonNoLocalEndpoint},
		{"a pod that is being deleted", orphaned, withPod(deleting), verdict.Contested, verdict.ReasonPodDeleting},
		{"a finished pod does not claim it", orphaned, withPod(succeeded), verdict.Orphan, verdict.ReasonUnclaimed},
		{"the node's own address", orphaned, withPod(hostNetwork), verdict.Protected, verdict.ReasonNodeAddress},
		{"orphan, excluded", orphaned, exclude("10.240.0.11/32"), verdict.Protected, verdict.ReasonExcluded},
		{"orphan, a Service's address", orphaned, vip, verdict.Protected, verdict.ReasonVIP},
		{"a load balancer refers to it", orphaned, refers, verdict.OrphanPending, verdict.ReasonReferenced},
		{"load balancers unknown", orphaned, func(w *world) { w.balancersKnown = false }, verdict.OrphanPending, verdict.ReasonLoadBalancersUnknown},
		{"load balancers read before the grace period ended", orphaned, func(w *world) { w.balancersRead = now.Add(-1) }, verdict.OrphanPending, verdict.ReasonLoadBalancersUnknown},
		{"kube-proxy may remember it", orphaned, proxy(staleProx), verdict.OrphanPending, verdict.ReasonMayRemember},
		{"only a keep-slice lists it", orphaned, both(proxy(staleProx), keeps("svc", node), forgotten), verdict.Orphan, verdict.ReasonUnclaimed},
		{"kube-proxy may remember it", orphaned, both(proxy(staleProx), forgotten, dropped), verdict.OrphanPending, verdict.ReasonMayRemember},
		{"kube-proxy has forgotten it", orphaned, both(proxy(staleProx), forgotten), verdict.Orphan, verdict.ReasonUnclaimed},
		{"within the grace period", orphaned, func(w *world) { w.unclaimedFor = grace - 1 }, verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"within the grace period, urgent", orphaned, urgently(urgentGrace), verdict.Orphan, verdict.ReasonUnclaimed},
		{"within the short grace period, urgent", orphaned, urgently(urgentGrace - 1), verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"urgent, but a load balancer refers", orphaned, both(urgently(urgentGrace), refers), verdict.OrphanPending, verdict.ReasonReferenced},
		{"urgent, but listed", orphaned, both(urgently(urgentGrace), lists("lin-1")), verdict.InUse, verdict.ReasonListedReady},
		{"unclaimed since just now", orphaned, func(w *world) { w.unclaimedUnknown = true }, verdict.OrphanPending, verdict.ReasonGracePeriod},
		{"no slices known", orphaned, func(w *world) { w.slicesEmpty = true }, verdict.OrphanPending, verdict.ReasonNoSlices},
		{"overlay, Services unknown", orphaned, func(w *world) { w.network.Type = hns.NetworkOverlay }, verdict.OrphanPending, verdict.ReasonServicesUnknown},
		{"overlay, Services known", orphaned, func(w *world) { w.network.Type = hns.NetworkOverlay; w.servicesWatched = true }, verdict.Orphan, verdict.ReasonUnclaimed},
		{"orphan, other network", orphaned, func(w *world) { w.remote.Network = natNet }, verdict.Foreign, verdict.ReasonOtherNetwork},
		{"orphan, Calico's", orphaned, func(w *world) { w.remote.MAC = hns.MAC{0x00, 0x15, 0x5d} }, verdict.Foreign, verdict.ReasonOtherMaker},
		{"orphan, no address", orphaned, func(w *world) { w.remote.Addresses = nil }, verdict.Foreign, verdict.ReasonOtherMaker},
		{"orphan, two addresses", orphaned, func(w *world) { w.remote.Addresses = append(w.remote.Addresses, netip.IPv6Loopback()) }, verdict.Foreign, verdict.ReasonOtherMaker},
		{"a pod on another node has the orphan's address", orphaned, podElsewhere(), verdict.InUse, verdict.ReasonPodElsewhere},
		{"a pod on another node is being deleted", orphaned, podElsewhere(deleting), verdict.InUse, verdict.ReasonPodElsewhere},
		{"a slice says more than a pod on another node", orphaned, both(podElsewhere(), lists("lin-1")), verdict.InUse, verdict.ReasonListedReady},
		{"a local endpoint of a pod that has ended, in use elsewhere", orphaned, both(func(w *world) { w.remote.Flags = 0 }, withPod(succeeded), lists("lin-1")), verdict.Local, verdict.ReasonLocalLeaked},
		{"a local endpoint without a pod", orphaned, local(), verdict.Local, verdict.ReasonLocalLeftBehind},
		{"a local endpoint of another network", orphaned, func(w *world) { w.remote.Flags = 0; w.remote.Network = natNet }, verdict.Local, verdict.ReasonOtherNetwork},
		{"a local endpoint without a pod, listed on this node", orphaned, both(local(), lists(node)), verdict.Local, verdict.ReasonLocalLeftBehind},
		{"a local endpoint whose address is in use elsewhere", orphaned, both(func(w *world) { w.remote.Flags = 0 }, lists("lin-1")), verdict.Local, verdict.ReasonLocalLeaked},
		{"a local endpoint without a pod, attached", orphaned, local(attach), verdict.Local, verdict.ReasonLocalUnclaimed},
		{"a local endpoint without a pod, and a pod waits", orphaned, both(local(), withPod(withoutAddress)), verdict.Local, verdict.ReasonLocalUnclaimed},
		{"one more than pods wait", orphaned, both(local(), withPod(withoutAddress), oneMore()), verdict.Local, verdict.ReasonLocalLeftBehind},
		{"one more on another network", orphaned, both(local(), withPod(withoutAddress), oneMore(func(e *verdict.Endpoint) { e.Network = natNet })), verdict.Local, verdict.ReasonLocalUnclaimed},
		{"one more of the node", orphaned, both(local(), withPod(withoutAddress), oneMore(name("sourcevip"))), verdict.Local, verdict.ReasonLocalUnclaimed},
		{"one more of a pod", orphaned, both(local(), withPod(withoutAddress), oneMore(), func(w *world) {
			w.pods = append(w.pods, pod("other", func(p *corev1.Pod) { p.Status.PodIPs = []corev1.PodIP{{IP: "10.240.0.12"}} }))
		}), verdict.Local, verdict.ReasonLocalUnclaimed},
		{"a local endpoint without a pod, no slices known", orphaned, both(local(), func(w *world) { w.slicesEmpty = true }), verdict.Local, verdict.ReasonLocalUnclaimed},
		{"one that has been there for long", orphaned, both(local(seen(10*time.Minute)), withPod(withoutAddress)), verdict.Local, verdict.ReasonLocalLeftBehind},
		{"one that has not", orphaned, local(seen(10*time.Minute - 1)), verdict.Local, verdict.ReasonLocalUnclaimed},
		{"one that has been there for long, on another network", orphaned, local(seen(time.Hour), func(e *verdict.Endpoint) { e.Network = natNet }), verdict.Local, verdict.ReasonOtherNetwork},
		{"the node's own", orphaned, local(seen(time.Hour), name("sourcevip")), verdict.Local, verdict.ReasonOfNode},
		{"the node's own, in use elsewhere", orphaned, both(local(name("VIPEndpoint")), lists("lin-1")), verdict.Local, verdict.ReasonOfNode},
		{"the node's own, remote", orphaned, func(w *world) { w.remote.MAC, w.remote.Name = hns.MAC{}, "Calico_ep" }, verdict.Foreign, verdict.ReasonOfNode},
		{"kube-proxy's own, by its MAC", orphaned, func(w *world) { w.remote.Name = "Calico_ep" }, verdict.Orphan, verdict.ReasonUnclaimed},
		{"a pod's, not attached", orphaned, both(local(), withPod()), verdict.Local, verdict.ReasonLocalNotAttached},
		{"a pod's, not attached, and in use elsewhere", orphaned, both(local(), withPod(), lists("lin-1")), verdict.Local, verdict.ReasonLocalNotAttached},
		{"a pod's, attached", orphaned, both(local(attach), withPod()), verdict.Local, verdict.ReasonLocalPod},
		{"beside a pod's own", conflicting, local(), verdict.Local, verdict.ReasonLocalBesidePods},
		{"both attached", conflicting, local(attach), verdict.Local, verdict.ReasonLocalPod},
		{"beside another that is not attached", conflicting, both(local(), func(w *world) { w.local.Namespace = "" }), verdict.Local, verdict.ReasonLocalNotAttached},
		{"the node's own with a pod's address", conflicting, local(attach, name("sourcevip")), verdict.Local, verdict.ReasonOfNode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := NewWithT(t)
			w := tc.from()
			tc.change(&w)
			verdicts := verdict.Decide(w.evidence())
			g.Expect(verdicts).To(HaveLen(len(w.evidence().Snapshot.Endpoints)), "every endpoint has a verdict")
			g.Expect(verdicts[0].Endpoint.ID).To(Equal(remoteID))
			g.Expect([]any{verdicts[0].Kind, verdicts[0].Reason}).To(Equal([]any{tc.kind, tc.reason}))
			for _, v := range verdicts[1:] {
				g.Expect(v.Kind.Removes()).To(BeFalse(), "a local endpoint stays")
			}
			for _, v := range verdicts {
				about, there := verdict.DecideEndpoint(w.evidence(), v.Endpoint.ID)
				g.Expect(there).To(BeTrue())
				g.Expect(about).To(Equal(v), "an endpoint alone is judged in the same way")
			}
		})
	}
}

func TestDecidingAboutAnEndpointThatIsNotThere(t *testing.T) {
	w := conflicting()
	if v, there := verdict.DecideEndpoint(w.evidence(), "another"); there {
		t.Errorf("it has the verdict %v", v)
	}
}

// The memory of old verdicts is reused. What they refer to may still be in use.
func TestDecidingInUsedMemory(t *testing.T) {
	g := NewWithT(t)
	first, second := conflicting(), orphaned()
	used := verdict.Decide(first.evidence())
	copies := slices.Clone(used)
	again := verdict.DecideInto(used, second.evidence())
	g.Expect(again).To(Equal(verdict.Decide(second.evidence())))
	g.Expect(copies).To(Equal(verdict.Decide(first.evidence())))
	g.Expect(&again[0]).To(BeIdenticalTo(&used[0]))
}

func TestEvidenceIsNamed(t *testing.T) {
	g := NewWithT(t)
	w := conflicting()
	refers(&w)
	lists("lin-1")(&w)
	v := verdict.Decide(w.evidence())[0]
	g.Expect(v.Pods).To(ConsistOf(HaveField("Name", "web")))
	g.Expect(v.Locals).To(ConsistOf(localID))
	g.Expect(v.Listings).To(ConsistOf(And(HaveField("Node", "lin-1"), HaveField("Service", "svc"))))
	g.Expect(v.LoadBalancers).To(ConsistOf(hns.LoadBalancerID("lb")))
	g.Expect(v.Address()).To(Equal(ip))
	g.Expect(v.Due).To(BeZero())

	podElsewhere()(&w)
	g.Expect(verdict.Decide(w.evidence())[0].Elsewhere).To(ConsistOf(
		verdict.Claimant{Pod: types.NamespacedName{Namespace: "default", Name: "cart"}, Node: "win-2"}))

	w = early()
	g.Expect(verdict.Decide(w.evidence())[0].Pods).To(ConsistOf(HaveField("Name", "web")), "the pod that waits")

	w = orphaned()
	w.unclaimedFor = time.Minute
	v = verdict.Decide(w.evidence())[0]
	g.Expect(v.Due).To(Equal(now.Add(4 * time.Minute)))
	g.Expect(v.Unclaimed()).To(BeTrue())
	g.Expect(verdict.Verdict{}.Address().IsValid()).To(BeFalse())

	w = conflicting()
	v = verdict.Decide(w.evidence())[1]
	g.Expect(v.Reason).To(Equal(verdict.ReasonLocalPod))
	g.Expect(v.Pods).To(ConsistOf(HaveField("Name", "web")), "whose endpoint it is")

	w = orphaned()
	local(seen(time.Hour))(&w)
	v = verdict.Decide(w.evidence())[0]
	g.Expect(v.Reason.LeftBehind()).To(BeTrue())
	g.Expect(v.Since).To(Equal(now.Add(-time.Hour)), "since when it was seen")
	w = conflicting()
	g.Expect(verdict.Decide(w.evidence())[1].Reason.LeftBehind()).To(BeFalse())
	local()(&w)
	g.Expect(verdict.Decide(w.evidence())[0].Reason.LeftBehind()).To(BeTrue(), "beside the pod's own")

	w = orphaned()
	w.remote.Flags = 0
	lists("lin-1")(&w)
	v = verdict.Decide(w.evidence())[0]
	g.Expect(v.Reason).To(Equal(verdict.ReasonLocalLeaked))
	g.Expect(v.Listings).To(ConsistOf(HaveField("Node", "lin-1")), "who has the address now")
}

func TestWhatALogSaysOfAVerdict(t *testing.T) {
	g := NewWithT(t)
	logged := verdict.Decide(conflicting().evidence())[0].KeysAndValues()
	values := map[string]any{}
	for i := 0; i < len(logged); i += 2 {
		values[logged[i].(string)] = logged[i+1]
	}
	g.Expect(values).To(Equal(map[string]any{
		"endpointID": remoteID, "ip": ip.String(), "verdict": verdict.Conflict, "reason": verdict.ReasonLivePod,
		"pods": []types.NamespacedName{{Namespace: "default", Name: "web"}}, "localEndpointIDs": []hns.EndpointID{localID},
		"listings": 0, "elsewhere": []verdict.Claimant{},
	}))
}

func TestWhatKindsMean(t *testing.T) {
	var removed, stale, unclaimed []verdict.Kind
	for _, k := range verdict.Kinds() {
		if k.Removes() {
			removed = append(removed, k)
		}
		if k.Stale() {
			stale = append(stale, k)
		}
		if (verdict.Verdict{Kind: k}).Unclaimed() {
			unclaimed = append(unclaimed, k)
		}
	}
	g := NewWithT(t)
	g.Expect(removed).To(ConsistOf(verdict.Conflict, verdict.EarlyConflict, verdict.Orphan))
	g.Expect(stale).To(ConsistOf(verdict.Conflict, verdict.EarlyConflict, verdict.Orphan, verdict.Held))
	g.Expect(unclaimed).To(ConsistOf(verdict.Orphan, verdict.OrphanPending))
}

func TestDualStackIsJudgedByEachAddress(t *testing.T) {
	g := NewWithT(t)
	v6 := netip.MustParseAddr("fd00::a:b")
	w := conflicting()
	w.pods[0].Status.PodIPs = append(w.pods[0].Status.PodIPs, corev1.PodIP{IP: v6.String()})
	w.local.Addresses = append(w.local.Addresses, v6)
	w.remote.Addresses, w.remote.MAC = []netip.Addr{v6}, kubeproxy.RemoteMAC(v6)
	g.Expect(verdict.Decide(w.evidence())[0].Kind).To(Equal(verdict.Conflict))
	w.local.Addresses = w.local.Addresses[:1]
	g.Expect(verdict.Decide(w.evidence())[0].Kind).To(Equal(verdict.Contested), "the local endpoint lacks that address")
}

func TestTwoRemotesOfOneAddress(t *testing.T) {
	g := NewWithT(t)
	e := conflicting().evidence()
	twin := e.Snapshot.Endpoints[0]
	twin.ID = "twin"
	e.Snapshot.Endpoints = append(e.Snapshot.Endpoints, twin)
	kinds := map[hns.EndpointID]verdict.Kind{}
	for _, v := range verdict.Decide(e) {
		kinds[v.Endpoint.ID] = v.Kind
	}
	g.Expect(kinds).To(Equal(map[hns.EndpointID]verdict.Kind{
		remoteID: verdict.Conflict, "twin": verdict.Conflict, localID: verdict.Local,
	}))
}

func both(changes ...func(*world)) func(*world) {
	return func(w *world) {
		for _, change := range changes {
			change(w)
		}
	}
}

func proxy(version string) func(*world) { return func(w *world) { w.kubeProxy = version } }
func fresh(w *world)                    { w.unclaimedFor = 0 }
func forgotten(w *world)                { w.forgotten = true }
func dropped(w *world)                  { w.dropped = sets.New(ip) }

// another adds a second local endpoint, which appeared after the first.
func another(w *world) { more(func(*verdict.Endpoint) {})(w) }

// more adds a second endpoint: a local one that appeared after the first, unless it is changed.
func more(change func(*verdict.Endpoint)) func(*world) {
	return func(w *world) {
		second := w.local
		second.ID, second.Addresses = "second", []netip.Addr{netip.MustParseAddr("10.240.0.12")}
		second.Appeared = now.Add(-time.Millisecond)
		change(&second)
		w.more = append(w.more, second)
	}
}

// arrivals adds a second local endpoint that appeared that long ago, while two pods have been waiting for so long.
func arrivals(second, web, two time.Duration) func(*world) {
	return both(more(func(e *verdict.Endpoint) { e.Appeared = now.Add(-second) }), func(w *world) {
		w.pods = append(w.pods, pod("two", withoutAddress))
		w.waited = map[types.UID]time.Duration{"web": web, "two": two}
	})
}

// podElsewhere adds a pod with the address on another node, on the API server.
func podElsewhere(changes ...func(*corev1.Pod)) func(*world) {
	return func(w *world) { w.elsewhere = append(w.elsewhere, pod("cart", append(changes, onOtherNode)...)) }
}

// earlier adds a pod on this node that has had the address.
func earlier(change func(*corev1.Pod)) func(*world) {
	return func(w *world) { w.pods = append(w.pods, pod("job", change)) }
}

// ipv6 gives the endpoints and the pod an IPv6 address, which a slice lists on a node.
func ipv6(onNode string, changes ...func(*discoveryv1.EndpointConditions)) func(*world) {
	return func(w *world) {
		addr := netip.MustParseAddr("fd00::11")
		w.remote.Addresses, w.remote.MAC, w.local.Addresses = []netip.Addr{addr}, kubeproxy.RemoteMAC(addr), []netip.Addr{addr}
		w.pods = []*corev1.Pod{pod("web", func(p *corev1.Pod) { p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: addr.String()}) })}
		s := slice("svc", listing(addr, onNode, changes...))
		s.AddressType = discoveryv1.AddressTypeIPv6
		w.slices = append(w.slices, s)
	}
}

func withAddress(addr string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.PodIPs = []corev1.PodIP{{IP: addr}} }
}

func exclude(prefix string) func(*world) {
	return func(w *world) { w.exclusions = []netip.Prefix{netip.MustParsePrefix(prefix)} }
}

func refers(w *world) {
	w.balancers = []hns.LoadBalancer{{ID: "lb", Endpoints: []hns.EndpointID{"other", remoteID}}}
}

func urgently(unclaimed time.Duration) func(*world) {
	return func(w *world) { w.urgent, w.unclaimedFor = true, unclaimed }
}

func vip(w *world) {
	w.servicesWatched, w.network.Type = true, hns.NetworkOverlay
	w.services = []*corev1.Service{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "svc"},
		Spec:       corev1.ServiceSpec{ClusterIPs: []string{ip.String()}},
	}}
}

func leaked(namespace hns.NamespaceID) func(*world) {
	return func(w *world) { w.hasLocal, w.local.Namespace = true, namespace }
}

func TestWhatAVerdictNeedsProved(t *testing.T) {
	for name, tc := range map[string]struct {
		from  func() world
		kube  string
		needs bool
	}{
		"a conflict rests on the pod alone":         {conflicting, goodProx, false},
		"unless kube-proxy has the stale record":    {conflicting, staleProx, true},
		"or the address is an IPv6 one":             {conflictingIPv6, goodProx, true},
		"an early conflict rests on missing slices": {early, goodProx, true},
		"and so does an orphan":                     {orphaned, goodProx, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := tc.from()
			w.kubeProxy, w.forgotten = tc.kube, true
			v := verdict.Decide(w.evidence())[0]
			g.Expect(v.Kind.Removes()).To(BeTrue())
			g.Expect(v.NeedsCurrentSlices).To(Equal(tc.needs))
			before, youngest := now.Add(-time.Hour), now.Add(-time.Minute)
			w.remote.Seen, w.local.Seen = youngest, before
			g.Expect(verdict.Decide(w.evidence())[0].Since).To(Equal(youngest), "of the endpoints that it rests on")
			if w.hasLocal {
				w.remote.Seen, w.local.Seen = before, youngest
				g.Expect(verdict.Decide(w.evidence())[0].Since).To(Equal(youngest), "of the endpoints that it rests on")
			}
		})
	}
}
