// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/sdk/freeport"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// The nodes of the cluster. Only the first one exists: the others are only names in EndpointSlices.
const (
	nodeName  = "win-1"
	linuxNode = "lin-1"
	otherNode = "win-2"
)

// windowsNode is one Windows node: an HNS, simulated or real, a real kube-proxy.exe, and optionally hnsguard.exe.
type windowsNode struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // a scenario is one call
	api     *apiServer
	exe     programs
	version string
	// guarded is set if hnsguard runs, and policy is its configuration file.
	guarded bool
	policy  string
	// period is kube-proxy's sync period, and minPeriod its minimum time between two syncs.
	period, minPeriod time.Duration

	service hostNetwork
	// network is the pod network.
	network hns.Network
	// byVariable is set if $KUBE_NETWORK names the network for kube-proxy, instead of its configuration.
	byVariable bool
	// simulated and server are the service and its server, if it is simulated.
	simulated *hnstest.HNS
	server    *hnsserver.Server

	nodeIPs                  []string
	sourceVIP                string
	healthzPort, metricsPort string
	// guardMetrics is the port of hnsguard's metrics.
	guardMetrics string
	proxy, guard *program
}

// nodeOptions are a scenario's options for its node.
type nodeOptions struct {
	duplicates hnstest.Duplicates
	order      hnstest.Order
	// network is the type of the pod network; the default is L2Bridge.
	network hns.NetworkType
	// version is the version of HNS; the default is that of Windows Server 2022.
	version hnsserver.Version
	// dualStack gives the node an IPv6 address too.
	dualStack bool
	// policy is hnsguard's configuration, without its first two lines.
	policy string
	// period and minPeriod are kube-proxy's sync period, by default that of the run, and its minimum time between two
	// syncs.
	period, minPeriod time.Duration
	// layout has the node's networks; the default is only the pod network. With a distribution's layout, kube-proxy gets
	// the network as on most of them.
	layout hnstest.Layout
}

// newWindowsNode prepares a node, without starting the programs.
func newWindowsNode(t *testing.T, l *apiServer, exe programs, version string, guarded bool, o nodeOptions) *windowsNode {
	t.Helper()
	s := &windowsNode{
		t: t, ctx: t.Context(), api: l, exe: exe, version: version, guarded: guarded, policy: o.policy,
		period: cmp.Or(o.period, syncPeriod(t)), minPeriod: cmp.Or(o.minPeriod, time.Second), nodeIPs: []string{"192.168.0.4"},
	}
	if kind := realHNS(); kind != "" {
		windows := openHNS(t, kind)
		s.service, s.network = windows, windows.network
		s.policy += "network: " + s.network.Name + "\n" // of types like these it would choose none by itself
	} else {
		s.simulate(o)
	}
	if s.network.Type == hns.NetworkOverlay {
		// kube-proxy needs the hardware address for the node's address.
		s.nodeIPs, s.sourceVIP = []string{hostAddress(t)}, "10.244.1.2"
	}
	if o.dualStack {
		s.nodeIPs = append(s.nodeIPs, "fd00:192::4")
	}
	s.healthzPort, s.metricsPort = freePort(t), freePort(t)
	l.ensureNamespace(s.ctx, t, guardNamespace)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	must(t, l.client.Create(s.ctx, node))
	for _, ip := range s.nodeIPs {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	must(t, l.client.Status().Update(s.ctx, node))
	return s
}

// hostAddress returns an address of this machine whose interface has a hardware address.
func hostAddress(t *testing.T) string {
	t.Helper()
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, i := range interfaces {
		if len(i.HardwareAddr) == 0 {
			continue
		}
		addresses, err := i.Addrs()
		must(t, err)
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
				return prefix.Addr().String()
			}
		}
	}
	t.Skip("this machine has no interface with both an IPv4 and a hardware address")
	return ""
}

// syncPeriod returns kube-proxy's sync period: shorter than its default of 30 seconds, except in slow runs.
func syncPeriod(t *testing.T) time.Duration {
	t.Helper()
	period, err := time.ParseDuration(os.Getenv("HNSGUARD_SYNC_PERIOD"))
	if err != nil {
		return 5 * time.Second
	}
	return period
}

// freePort returns a port that Linux gives to no connection, however long a program takes to listen on it.
func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(freeport.GetOne(t))
}

// env returns the environment with the address of a simulated HNS's server.
func (s *windowsNode) env() []string {
	if s.server == nil {
		return nil
	}
	return []string{"HNS_SERVER_PORT=" + s.server.Port()}
}

// startProxy starts kube-proxy and waits until it works.
func (s *windowsNode) startProxy() {
	s.t.Helper()
	config := writeFile(s.t, tempdir.New(s.t), "kube-proxy.yaml", "%s", kubeProxyConfig(s))
	env := s.env()
	if s.byVariable {
		env = append(env, "KUBE_NETWORK="+s.network.Name)
	}
	s.proxy = start(s.t, env, s.exe.proxies[s.version], "--config", windowsPath(config))
	s.awaitHTTP("http://127.0.0.1:"+s.metricsPort+"/metrics", "kube-proxy serves its metrics")
}

// startGuard starts hnsguard, if the node is guarded, and waits until it is ready.
func (s *windowsNode) startGuard() {
	s.t.Helper()
	if !s.guarded {
		return
	}
	config := writeFile(s.t, tempdir.New(s.t), "hnsguard.yaml", "apiVersion: hnsguard.io/v1alpha1\nkind: Configuration\n%s", s.policy)
	probes := freePort(s.t)
	s.guardMetrics = freePort(s.t)
	env := append(s.env(), "NODE_NAME="+nodeName, "POD_NAMESPACE="+guardNamespace)
	if s.byVariable {
		env = append(env, "KUBE_NETWORK=Calico.*") // a machine can have it for others, in whatever form they understand
	}
	s.guard = start(s.t, env, s.exe.guard,
		"run", "--kubeconfig", windowsPath(s.api.guardKubeconfig), "--config", windowsPath(config),
		"--log-format", "text", "--log-level", "debug",
		"--health-probe-bind-address", "127.0.0.1:"+probes, "--metrics-bind-address", "127.0.0.1:"+s.guardMetrics,
		"--page-bind-address", "0",
		"--kube-proxy-metrics-url", "http://127.0.0.1:"+s.metricsPort+"/metrics")
	s.awaitHTTP("http://127.0.0.1:"+probes+"/readyz", "hnsguard is ready")
	eventually(s.ctx, s.t, 30*time.Second, "hnsguard knows kube-proxy", func() bool {
		return strings.Contains(s.guard.log.String(), "Found kube-proxy")
	})
}

// startBoth starts kube-proxy and hnsguard.
func (s *windowsNode) startBoth() {
	s.t.Helper()
	s.startProxy()
	s.startGuard()
}

func (s *windowsNode) awaitHTTP(url, what string) {
	s.t.Helper()
	eventually(s.ctx, s.t, time.Minute, what, func() bool { return ask(s.ctx, url, "") == http.StatusOK })
}

// addr returns an address of the pod network.
func addr(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 244, 1, last}) }

// expose creates a Service with a slice that lists addresses on a node.
func (s *windowsNode) expose(name, node string, addrs ...netip.Addr) *discoveryv1.EndpointSlice {
	s.t.Helper()
	must(s.t, s.api.client.Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}))
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name + "-x1",
			Labels: map[string]string{
				discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(80)), Protocol: new(corev1.ProtocolTCP)}},
		Endpoints:   endpoints(node, true, addrs...),
	}
	must(s.t, s.api.client.Create(s.ctx, slice))
	return slice
}

func endpoints(node string, ready bool, addrs ...netip.Addr) []discoveryv1.Endpoint {
	var all []discoveryv1.Endpoint
	for _, a := range addrs {
		all = append(all, discoveryv1.Endpoint{
			Addresses: []string{a.String()}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: new(true), Terminating: new(!ready)},
		})
	}
	return all
}

// relist replaces the endpoints of a slice.
func (s *windowsNode) relist(slice *discoveryv1.EndpointSlice, endpoints ...discoveryv1.Endpoint) {
	s.t.Helper()
	slice.Endpoints = endpoints
	must(s.t, s.api.client.Update(s.ctx, slice))
}

// remotes lists the remote endpoints of an address.
func (s *windowsNode) remotes(a netip.Addr) []hns.EndpointID { return s.find(a, true) }

// locals lists the local endpoints of an address.
func (s *windowsNode) locals(a netip.Addr) []hns.EndpointID { return s.find(a, false) }

func (s *windowsNode) find(a netip.Addr, remote bool) []hns.EndpointID {
	var ids []hns.EndpointID
	for _, e := range s.service.State().Endpoints {
		if e.Remote() == remote && e.Has(a) {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

func (s *windowsNode) there(id hns.EndpointID) bool {
	return slices.ContainsFunc(s.service.State().Endpoints, func(e hns.Endpoint) bool { return e.ID == id })
}

// awaitRemote waits until kube-proxy has created the remote endpoints of addresses.
func (s *windowsNode) awaitRemote(addrs ...netip.Addr) {
	s.t.Helper()
	for _, a := range addrs {
		// Listing hundreds of endpoints through Wine takes a minute while ten nodes start.
		eventually(s.ctx, s.t, 3*time.Minute, fmt.Sprintf("kube-proxy makes the remote endpoint of %s", a), func() bool {
			return len(s.remotes(a)) > 0
		})
	}
}

// leak creates a remote endpoint that kube-proxy does not know, as if it had created it before a restart.
func (s *windowsNode) leak(a netip.Addr) hns.EndpointID {
	s.t.Helper()
	made, err := s.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: s.network.ID, Addresses: []netip.Addr{a}, MAC: kubeproxy.RemoteMAC(a), Flags: hns.FlagRemote,
	})
	must(s.t, err)
	return made.ID
}

// pod creates a pod on the Windows node that waits for its address.
func (s *windowsNode) pod(name string) *corev1.Pod {
	s.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName: nodeName, OS: &corev1.PodOS{Name: corev1.Windows},
			Containers: []corev1.Container{{Name: "c", Image: "nowhere.invalid/c"}},
		},
	}
	must(s.t, s.api.client.Create(s.ctx, pod))
	return pod
}

// cni creates and attaches the local endpoint of a pod.
func (s *windowsNode) cni(addrs ...netip.Addr) (hns.EndpointID, error) {
	made, err := s.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: s.network.ID, Name: "0123456789_eth0", Addresses: addrs, MAC: hns.MAC{0, 0x15, 0x5d, 1, 2, addrs[0].As4()[3]},
	})
	if err != nil {
		return "", err
	}
	return made.ID, s.service.Attach(made.ID, s.service.CreateNamespace())
}

// report reports a pod's addresses, like the kubelet; the pod need not be ready yet.
func (s *windowsNode) report(pod *corev1.Pod, ready bool, addrs ...netip.Addr) {
	s.t.Helper()
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, addrs[0].String(), nil
	for _, a := range addrs {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	must(s.t, s.api.client.Status().Update(s.ctx, pod))
}

// The durations of a pod's start: from its binding to its endpoint, to its first status with an address, and to its
// readiness.
const (
	toEndpoint = time.Second
	toStatus   = 300 * time.Millisecond
	toReady    = 2 * time.Second
)

// windowsPod starts a pod with addresses, and returns when it is ready.
func (s *windowsNode) windowsPod(name string, addrs ...netip.Addr) hns.EndpointID {
	s.t.Helper()
	local, ready := s.windowsPodUntilEndpoint(name, addrs...)
	ready()
	return local
}

// windowsPodUntilEndpoint starts a pod and returns when it has its endpoint; ready waits until the pod is ready.
func (s *windowsNode) windowsPodUntilEndpoint(name string, addrs ...netip.Addr) (local hns.EndpointID, ready func()) {
	s.t.Helper()
	pod := s.pod(name)
	time.Sleep(toEndpoint)
	local, err := s.cni(addrs...)
	must(s.t, err)
	return local, func() {
		s.t.Helper()
		time.Sleep(toStatus)
		s.report(pod, false, addrs...)
		time.Sleep(toReady)
		s.report(pod, true, addrs...)
	}
}

// vipOf returns the cluster IP of a Service.
func (s *windowsNode) vipOf(service string) netip.Addr {
	s.t.Helper()
	var svc corev1.Service
	must(s.t, s.api.client.Get(s.ctx, client.ObjectKey{Namespace: namespace, Name: service}, &svc))
	return netip.MustParseAddr(svc.Spec.ClusterIP)
}

// balancerIDs returns the load balancers of a Service.
func (s *windowsNode) balancerIDs(service string) (ids []hns.LoadBalancerID) {
	s.t.Helper()
	vip := s.vipOf(service)
	for _, lb := range s.service.State().LoadBalancers {
		if slices.Contains(lb.FrontendVIPs, vip) {
			ids = append(ids, lb.ID)
		}
	}
	return ids
}

// balancersOf returns the backends of the load balancers of a Service, and whether all of them exist.
func (s *windowsNode) balancersOf(service string) (backends [][]hns.EndpointID, whole bool) {
	s.t.Helper()
	vip := s.vipOf(service)
	whole = true
	for _, lb := range s.service.State().LoadBalancers {
		if !slices.Contains(lb.FrontendVIPs, vip) {
			continue
		}
		backends = append(backends, lb.Endpoints)
		for _, id := range lb.Endpoints {
			whole = whole && s.there(id)
		}
	}
	return backends, whole
}

// clearance returns how long hnsguard may hold an endpoint until kube-proxy has forgotten its address.
func (s *windowsNode) clearance() time.Duration {
	if !s.guarded || !kubeproxy.ProfileOf(s.version).StaleRecord {
		return 0
	}
	return time.Minute
}

// settle waits until hnsguard knows kube-proxy's record, as on a node that has run for some time: hnsguard moves its
// slice three times, and kube-proxy creates an endpoint each time.
func (s *windowsNode) settle() {
	s.t.Helper()
	if s.clearance() == 0 {
		return
	}
	seen := sets.New[netip.Addr]()
	eventually(s.ctx, s.t, 2*time.Minute, "hnsguard knows what kube-proxy remembers", func() bool {
		for _, e := range s.service.State().Endpoints {
			if stalerecord.IsBarrier(e.Addresses[0]) {
				seen.Insert(e.Addresses[0])
			}
		}
		return seen.Len() == 3
	})
	time.Sleep(2 * time.Second) // and until hnsguard has seen the last
}

// periods returns the time for so many syncs that kube-proxy starts by itself.
func (s *windowsNode) periods(n int) time.Duration { return time.Duration(n)*s.period + s.period/2 }

// bindAddress returns kube-proxy's bind address: none in dual stack, where kube-proxy would take its family for the
// only one.
func (s *windowsNode) bindAddress() string {
	if len(s.nodeIPs) > 1 {
		return "0.0.0.0"
	}
	return s.nodeIPs[0]
}

// guardDeleted reports whether hnsguard has deleted an endpoint. The real HNS does not report who did, but hnsguard's
// log does.
func (s *windowsNode) guardDeleted() bool {
	if s.server == nil {
		return strings.Contains(s.guard.log.String(), "Removed a stale remote endpoint")
	}
	return slices.ContainsFunc(s.journal(), func(e hnsserver.Entry) bool {
		return e.Caller == "hnsguard.exe" && e.Operation == "delete" && e.Kind == "endpoint" && e.Result == 0
	})
}

// events returns the reasons of the Events about a pod.
func (s *windowsNode) events(pod string) []string {
	s.t.Helper()
	var list eventsv1.EventList
	must(s.t, s.api.client.List(s.ctx, &list, client.InNamespace(namespace)))
	var reasons []string
	for _, e := range list.Items {
		if e.Regarding.Name == pod {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}
