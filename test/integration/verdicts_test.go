// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Every verdict of the decision table is reached through objects of the API.
var _ = Describe("The verdict on a remote endpoint", func() {
	var n *node

	BeforeEach(func(ctx SpecContext) { n = newNode(ctx, shared, hnstest.Options{}) })

	Context("that is removed", func() {
		It("conflict: a live pod of the node has its address", func(ctx SpecContext) {
			n.start()
			remote := n.remote(n.addr(1))
			local := n.local(n.addr(1))
			pod := n.pod(ctx, "web", n.addr(1))
			Eventually(n.there).Should(ConsistOf(local))
			Eventually(n.events(ctx, n.namespace, pod.Name)).Should(ContainElement(removal.EventRemoved))
			Expect(n.service.Deleted()).To(Equal([]hns.EndpointID{remote}))
		})

		It("conflict: the slice lags behind and lists the address elsewhere", func(ctx SpecContext) {
			n.slice(ctx, "svc", "lin-1", nil, n.addr(1))
			n.remote(n.addr(1))
			n.start()
			Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1))
			local := n.local(n.addr(1))
			n.pod(ctx, "web", n.addr(1))
			Eventually(n.there).Should(ConsistOf(local))
		})

		It("early conflict: a pod waits for the address that was just attached", func(ctx SpecContext) {
			n.remote(n.addr(1))
			n.config.Orphan.GracePeriod.Duration = 1 << 40
			n.start()
			n.pod(ctx, "web")
			Eventually(func() float64 { return n.passes() }).Should(BeNumerically(">", 2))
			local := n.local(n.addr(1))
			Eventually(n.there).Should(ConsistOf(local), "before the pod reports its address")
			Eventually(func() float64 { return n.removals("conflict_early", "removed") }).Should(BeEquivalentTo(1))
		})

		It("orphan: nothing uses its address", func(ctx SpecContext) {
			s := n.slice(ctx, "svc", "lin-1", nil, n.addr(1))
			remote := n.remote(n.addr(1))
			n.start()
			n.keeps(remote)
			n.drop(ctx, s)
			Eventually(n.verdicts("orphan_pending")).Should(BeEquivalentTo(1))
			Eventually(n.there).Should(BeEmpty())
			Eventually(func() float64 { return n.removals("orphan", "removed") }).Should(BeEquivalentTo(1))
		})
	})

	Context("that is kept", func() {
		It("held: kube-proxy would delete the pod's own endpoint", func(ctx SpecContext) {
			n.kubeProxy = "v1.32.3"
			n.config.Keep.Mode = config.Observe
			n.followFlushes(ctx)
			s := n.slice(ctx, "svc", "lin-1", terminating, n.addr(1))
			remote, local := n.remote(n.addr(1)), n.local(n.addr(1))
			pod := n.pod(ctx, "web", n.addr(1))
			n.start()
			Eventually(n.verdicts("held")).Should(BeEquivalentTo(1))
			Eventually(n.events(ctx, n.namespace, pod.Name)).Should(ContainElement(guard.EventHeld))
			n.keeps(remote, local)
			Expect(n.keptBy("create", "observed")).To(BeEquivalentTo(1))
			Expect(n.keepSlices(ctx)).To(BeEmpty())
			n.drop(ctx, s)
			Eventually(n.there).Should(ConsistOf(local), "once HNS shows that kube-proxy has processed the drop")
		})

		It("contested: the pod is being deleted and the address is listed elsewhere", func(ctx SpecContext) {
			remote := n.remote(n.addr(1))
			pod := n.pod(ctx, "web", n.addr(1))
			n.terminate(ctx, pod)
			n.slice(ctx, "svc", "lin-1", nil, n.addr(1))
			local := n.local(n.addr(1))
			n.start()
			Eventually(n.verdicts("contested")).Should(BeEquivalentTo(1))
			n.keeps(remote, local)
		})

		It("contested: the pod has no local endpoint", func(ctx SpecContext) {
			remote := n.remote(n.addr(1))
			n.pod(ctx, "web", n.addr(1))
			n.start()
			Eventually(n.verdicts("contested")).Should(BeEquivalentTo(1))
			n.keeps(remote)
		})

		It("leaked local: the remote one is the valid one", func(ctx SpecContext) {
			leaked := n.leaked(n.addr(1))
			n.slice(ctx, "svc", "lin-1", nil, n.addr(1))
			remote := n.remote(n.addr(1))
			n.start()
			Eventually(n.verdicts("leaked_local")).Should(BeEquivalentTo(1))
			n.keeps(leaked, remote)
		})

		DescribeTable("in use: a slice lists it",
			func(ctx SpecContext, onNode string, change func(*discoveryv1.EndpointConditions)) {
				n.slice(ctx, "svc", onNode, change, n.addr(1))
				remote := n.remote(n.addr(1))
				n.start()
				Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1))
				n.keeps(remote)
			},
			Entry("ready on another node", "lin-1", nil),
			Entry("terminating on another node", "lin-1", terminating),
			Entry("not ready on another node", "lin-1", func(c *discoveryv1.EndpointConditions) { c.Ready = new(false) }),
			Entry("outside the cluster, as EKS' 172.0.32.0", "", nil),
		)

		It("in use: for a second kube-proxy, whose Services are labelled for it", func(ctx SpecContext) {
			s := &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: n.namespace, Name: "other",
					Labels: map[string]string{"service.kubernetes.io/service-proxy-name": "second"},
				},
				AddressType: discoveryv1.AddressTypeIPv4,
				Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{n.addr(1).String()}}},
			}
			Expect(n.cp.client.Create(ctx, s)).To(Succeed())
			remote := n.remote(n.addr(1))
			n.start()
			Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1))
			n.keeps(remote)
		})

		It("protected: its range is excluded", func(ctx SpecContext) {
			n.config.Exclusions = []string{n.addr(1).String()}
			remote, local := n.remote(n.addr(1)), n.local(n.addr(1))
			n.pod(ctx, "web", n.addr(1))
			n.start()
			Eventually(n.verdicts("protected")).Should(BeEquivalentTo(1))
			n.keeps(remote, local)
		})

		It("protected: it is the node's own address, which a hostNetwork pod has", func(ctx SpecContext) {
			remote := n.remote(n.addr(1))
			n.podWith(ctx, "agent", func(p *corev1.Pod) {
				p.Spec.HostNetwork = true
				p.Spec.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{
					HostProcess: new(true), RunAsUserName: new("NT AUTHORITY\\SYSTEM"),
				}}
			}, n.addr(1))
			n.start()
			Eventually(n.verdicts("protected")).Should(BeEquivalentTo(1))
			n.keeps(remote)
		})

		It("protected: it is the address of a Service, on an overlay network", func(ctx SpecContext) {
			Expect(n.service.DeleteNetwork(n.network.ID)).To(Succeed())
			n.network = n.service.CreateNetwork("vxlan0", hns.NetworkOverlay)
			svc := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "svc"},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
			}
			Expect(n.cp.client.Create(ctx, svc)).To(Succeed())
			vip := n.remote(netip.MustParseAddr(svc.Spec.ClusterIP))
			orphan := n.remote(n.addr(1))
			n.start()
			Eventually(n.verdicts("protected")).Should(BeEquivalentTo(1))
			Eventually(n.there).ShouldNot(ContainElement(orphan), "orphans go once Services are known")
			n.keeps(vip)
		})

		It("orphan pending: a load balancer refers to it", func() {
			remote := n.remote(n.addr(1))
			balancer, err := n.service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{remote}})
			Expect(err).NotTo(HaveOccurred())
			n.start()
			n.keeps(remote)
			Expect(n.verdicts("orphan_pending")()).To(BeEquivalentTo(1))
			Expect(n.service.DeleteLoadBalancer(balancer.ID)).To(Succeed())
			Eventually(n.there).Should(BeEmpty())
		})

		It("foreign: Calico and flannel make remote endpoints too", func() {
			calico := n.endpoint(hnstest.EndpointSpec{
				Network: n.network.ID, Name: "Calico_ep", Addresses: []netip.Addr{n.addr(2)},
				MAC: hns.MAC{0x00, 0x15, 0x5d, 1, 2, 3}, Flags: hns.FlagRemote,
			})
			flannel := n.endpoint(hnstest.EndpointSpec{
				Network: n.network.ID, Name: "remote_" + n.addr(3).String(), Addresses: []netip.Addr{n.addr(3)},
				MAC: hns.MAC{0x0e, 0x2a, 10, 42, n.subnet, 3}, Flags: hns.FlagRemote,
			})
			n.start()
			Eventually(n.verdicts("foreign")).Should(BeEquivalentTo(2))
			n.keeps(calico, flannel)
		})

		It("local: whatever happens", func() {
			unused := n.leaked(n.addr(1))
			used := n.local(n.addr(2))
			n.start()
			Eventually(n.verdicts("local")).Should(BeEquivalentTo(2))
			n.keeps(unused, used)
		})
	})
})
