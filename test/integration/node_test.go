// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// grace is the orphans' grace period in the specs, and poll the slow interval.
const (
	grace = time.Second
	poll  = 250 * time.Millisecond
)

// node is a Windows node with its HNS and its agent, in its own part of the cluster: specs share an API server, and
// every agent sees all EndpointSlices.
type node struct {
	cp        *controlPlane
	name      string
	namespace string
	subnet    byte
	service   *hnstest.HNS
	network   hns.Network
	config    config.Config
	kubeProxy string
	metrics   string
	probes    string
	page      string
	tls       *server.Certificate

	// api is the agent's configuration for the API server, and agentNamespace its namespace, unless it runs as an
	// administrator in the pods' namespace.
	api            *rest.Config
	agentNamespace string

	// impatient is the time for the manager's controllers to sync their caches, unless they set their own.
	impatient time.Duration

	running *agent.Agent
	stop    func()
}

// corners numbers the nodes.
var corners atomic.Uint32

func newNode(ctx context.Context, cp *controlPlane, opts hnstest.Options) *node {
	GinkgoHelper()
	corner := byte(corners.Add(1))
	n := &node{
		cp: cp, name: fmt.Sprintf("win-%d", corner), namespace: cp.namespace(ctx), subnet: corner,
		service: hnstest.New(opts), config: config.Default(), kubeProxy: "v1.37.2", metrics: "0", probes: "0",
	}
	n.api, n.agentNamespace = cp.config, n.namespace
	n.network = n.service.CreateNetwork("azure", hns.NetworkL2Bridge)
	n.config.Orphan.GracePeriod.Duration = grace
	n.config.Pace.StepInterval = time.Second // other nodes' slices change all the time
	n.config.Poll.SlowInterval.Duration = poll
	return n
}

// evictsVictims makes the agent evict pods that have been without an endpoint for a second.
func (n *node) evictsVictims() {
	n.config.Eviction.Mode = config.Enforce
	n.config.Eviction.After.Duration, n.config.Pace.EvictionInterval = time.Second, time.Second
	n.config.Pace.SandboxTime = 0
}

// victims returns the pods without network that the agent reports.
func (n *node) victims() (names []string) {
	for _, v := range n.running.Report().Pods {
		names = append(names, v.Name)
	}
	return names
}

// start starts the agent and waits for its first pass. The agent stops when the spec ends, or earlier.
func (n *node) start() {
	GinkgoHelper()
	n.launch()
	Eventually(n.passes).Should(BeNumerically(">", 0), "the agent looks at the node")
}

// launch starts the agent, and returns a channel for its end.
func (n *node) launch() <-chan error {
	GinkgoHelper()
	options := agent.Options{
		Node: n.name, Namespace: n.agentNamespace, Config: n.config, HNS: n.service,
		KubeProxy:      detect.Options{Version: n.kubeProxy},
		MetricsAddress: n.metrics, MetricsTLS: n.tls, ProbeAddress: n.probes, PageAddress: n.page,
		Logger: logf.Log.WithName(n.name), Clock: clock.RealClock{},
	}
	settings, err := agent.ManagerOptions(options)
	Expect(err).NotTo(HaveOccurred())
	settings.Controller.CacheSyncTimeout = n.impatient
	mgr, err := manager.New(n.api, settings)
	Expect(err).NotTo(HaveOccurred())
	deps, err := agent.FromManager(n.api, options, mgr)
	Expect(err).NotTo(HaveOccurred())
	deps.Restricted = n.api != n.cp.config // nothing restricts an administrator
	a, err := agent.New(options, deps)
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Start(ctx) }()
	n.running = a
	n.stop = func() {
		GinkgoHelper()
		cancel()
		Eventually(ended).Should(Receive(BeNil()))
		n.stop = func() {}
	}
	DeferCleanup(func() { n.stop() })
	return ended
}

// addr returns an address in the node's part of the cluster.
func (n *node) addr(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 42, n.subnet, last}) }

// remote creates the remote endpoint that kube-proxy would create for an address.
func (n *node) remote(addr netip.Addr) hns.EndpointID {
	GinkgoHelper()
	return n.endpoint(hnstest.EndpointSpec{
		Network: n.network.ID, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
	})
}

// local creates and attaches the endpoint that a CNI would create for a pod.
func (n *node) local(addrs ...netip.Addr) hns.EndpointID {
	GinkgoHelper()
	id := n.leaked(addrs...)
	Expect(n.service.Attach(id, n.service.CreateNamespace())).To(Succeed())
	return id
}

// leaked creates a local endpoint that nothing uses.
func (n *node) leaked(addrs ...netip.Addr) hns.EndpointID {
	GinkgoHelper()
	return n.endpoint(hnstest.EndpointSpec{Network: n.network.ID, Name: "0123_eth0", Addresses: addrs})
}

func (n *node) endpoint(spec hnstest.EndpointSpec) hns.EndpointID {
	GinkgoHelper()
	made, err := n.service.CreateEndpoint(spec)
	Expect(err).NotTo(HaveOccurred())
	return made.ID
}

// there returns the endpoints in HNS, without those of the flush slices' moves.
func (n *node) there() []hns.EndpointID {
	ids := []hns.EndpointID{}
	for _, e := range n.service.State().Endpoints {
		if !slices.ContainsFunc(e.Addresses, stalerecord.IsBarrier) {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// followFlushes does kube-proxy's part of flushes until the spec ends.
func (n *node) followFlushes(ctx context.Context) {
	GinkgoHelper()
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	follower := nodetest.Follower{Server: n.cp.client, Namespace: n.agentNamespace, HNS: n.service, Network: n.network.ID}
	ended := make(chan error, 1)
	go func() { ended <- follower.Run(following, time.Tick(200*time.Millisecond)) }()
	DeferCleanup(func() {
		stop()
		Eventually(ended).Should(Receive(BeNil()))
	})
}

// pod creates a pod on the node; without addresses it is waiting for one.
func (n *node) pod(ctx context.Context, name string, addrs ...netip.Addr) *corev1.Pod {
	GinkgoHelper()
	return n.podWith(ctx, name, func(*corev1.Pod) {}, addrs...)
}

func (n *node) podWith(ctx context.Context, name string, change func(*corev1.Pod), addrs ...netip.Addr) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName:   n.name,
			OS:         &corev1.PodOS{Name: corev1.Windows},
			Containers: []corev1.Container{{Name: "c", Image: "nowhere.invalid/c"}},
		},
	}
	change(pod)
	Expect(n.cp.client.Create(ctx, pod)).To(Succeed())
	if len(addrs) > 0 {
		n.report(ctx, pod, addrs...)
	}
	return pod
}

// report does what the kubelet does when the pod has addresses and runs.
func (n *node) report(ctx context.Context, pod *corev1.Pod, addrs ...netip.Addr) {
	GinkgoHelper()
	pod.Status.Phase = corev1.PodRunning
	pod.Status.PodIP = addrs[0].String()
	pod.Status.PodIPs = nil
	for _, addr := range addrs {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: addr.String()})
	}
	Expect(n.cp.client.Status().Update(ctx, pod)).To(Succeed())
}

// terminate requests the pod's deletion; without a kubelet it remains terminating.
func (n *node) terminate(ctx context.Context, pod *corev1.Pod) {
	GinkgoHelper()
	Expect(n.cp.client.Delete(ctx, pod, client.GracePeriodSeconds(600))).To(Succeed())
}

// kill deletes the pod from the API at once.
func (n *node) kill(ctx context.Context, pod *corev1.Pod) {
	GinkgoHelper()
	Expect(n.cp.client.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
}

// slice lists addresses on a node ("" for none), ready unless changed.
func (n *node) slice(ctx context.Context, name, onNode string, change func(*discoveryv1.EndpointConditions),
	addrs ...netip.Addr,
) *discoveryv1.EndpointSlice {
	GinkgoHelper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: n.namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	if len(addrs) > 0 && addrs[0].Is6() {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	for _, addr := range addrs {
		e := discoveryv1.Endpoint{Addresses: []string{addr.String()}}
		if onNode != "" {
			e.NodeName = &onNode
		}
		if change != nil {
			change(&e.Conditions)
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	Expect(n.cp.client.Create(ctx, s)).To(Succeed())
	return s
}

func terminating(c *discoveryv1.EndpointConditions) {
	c.Ready, c.Serving, c.Terminating = new(false), new(true), new(true)
}

// drop empties the slice.
func (n *node) drop(ctx context.Context, s *discoveryv1.EndpointSlice) {
	GinkgoHelper()
	s.Endpoints = nil
	Expect(n.cp.client.Update(ctx, s)).To(Succeed())
}

// events returns the reasons of hnsguard's Events about an object. The API server has its own Events about Services.
func (n *node) events(ctx context.Context, namespace, name string) func() ([]string, error) {
	return func() ([]string, error) {
		var list eventsv1.EventList
		if err := n.cp.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		reasons := []string{}
		for _, e := range list.Items {
			if e.Regarding.Name == name && e.ReportingController == agent.Name {
				reasons = append(reasons, e.Reason)
			}
		}
		return reasons, nil
	}
}

// metric reads one of the agent's series, such as hnsguard_endpoints{verdict="in_use"}.
func (n *node) metric(name string) float64 {
	families, err := n.running.Metrics().Gather()
	if err != nil {
		return -1
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := []string{}
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			series := f.GetName()
			if len(labels) > 0 {
				series += "{" + strings.Join(labels, ",") + "}"
			}
			if series == name {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func (n *node) passes() float64 { return n.metric(`hnsguard_passes_total{result="complete"}`) }

// verdicts returns the number of endpoints with the verdict.
func (n *node) verdicts(kind string) func() float64 {
	return func() float64 { return n.metric(fmt.Sprintf("hnsguard_endpoints{verdict=%q}", kind)) }
}

func (n *node) removals(kind, result string) float64 {
	return n.metric(fmt.Sprintf("hnsguard_removals_total{result=%q,verdict=%q}", result, kind))
}

// keeps expects HNS not to change for longer than any act takes.
func (n *node) keeps(ids ...hns.EndpointID) {
	GinkgoHelper()
	Consistently(n.there, grace+time.Second).Should(ConsistOf(ids))
}

func keyOf(obj client.Object) client.ObjectKey { return client.ObjectKeyFromObject(obj) }
