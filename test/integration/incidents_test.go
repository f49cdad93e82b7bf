// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/hashicorp/consul/sdk/freeport"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

var _ = Describe("The guard", func() {
	var n *node

	BeforeEach(func(ctx SpecContext) { n = newNode(ctx, shared, hnstest.Options{}) })

	It("keeps the endpoint when the pod goes and its address moves between decision and act", func(ctx SpecContext) {
		remote, local := n.remote(n.addr(1)), n.local(n.addr(1))
		pod := n.pod(ctx, "web", n.addr(1))
		// The inventory reads both endpoints, and the local one twice; the next read is the guard's, before it acts.
		for range 3 {
			n.service.Before(hns.OpEndpoint, func() {})
		}
		n.service.Before(hns.OpEndpoint, func() {
			defer GinkgoRecover()
			n.kill(ctx, pod)
			n.slice(ctx, "svc", "lin-1", nil, n.addr(1))
		})
		n.start()
		Eventually(func() float64 { return n.removals("conflict", "refused") }).Should(BeEquivalentTo(1))
		n.keeps(remote, local)
	})

	It("knows nothing, and does nothing, while HNS is down", func(ctx SpecContext) {
		n.start()
		n.service.SetDown(true)
		n.remote(n.addr(1))
		n.local(n.addr(1))
		n.pod(ctx, "web", n.addr(1))
		Eventually(func() float64 { return n.metric(`hnsguard_passes_total{result="unknown"}`) }).Should(BeNumerically(">", 1))
		Expect(n.there()).To(HaveLen(2))
		n.service.SetDown(false)
		Eventually(n.there).Should(HaveLen(1))
	})

	It("survives a restart in the middle of its work", func(ctx SpecContext) {
		const pods = 40
		n.config.Removals.PerSecond, n.config.Pace.Burst = 20, 1
		for i := range byte(pods) {
			n.remote(n.addr(i + 1))
			n.local(n.addr(i + 1))
			n.pod(ctx, fmt.Sprintf("web-%d", i), n.addr(i+1))
		}
		n.start()
		Eventually(func() int { return len(n.there()) }).Should(BeNumerically("<", 2*pods-5))
		n.stop()
		left := len(n.there())
		Expect(left).To(BeNumerically(">", pods), "it was stopped in the middle")
		n.start()
		Eventually(n.there).Should(HaveLen(pods))
		Expect(n.service.Deleted()).To(HaveLen(pods))
	})

	It("judges a slice of a thousand endpoints", func(ctx SpecContext) {
		addrs := make([]netip.Addr, 0, 1000)
		for i := range 1000 {
			addrs = append(addrs, netip.AddrFrom4([4]byte{10, 43 + byte(i/250), n.subnet, byte(i % 250)}))
		}
		for _, addr := range addrs {
			n.remote(addr)
		}
		s := n.slice(ctx, "big", "lin-1", nil, addrs...)
		n.start()
		Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1000))

		local := n.local(addrs[500])
		n.pod(ctx, "web", addrs[500])
		Eventually(n.there).Should(And(HaveLen(1000), ContainElement(local)))

		n.drop(ctx, s)
		Eventually(n.verdicts("orphan")).Should(BeEquivalentTo(999))
		Eventually(func() float64 {
			return n.metric(`hnsguard_removals_skipped_total{brake="cap",verdict="orphan"}`)
		}).Should(BeNumerically(">=", 974))
		left := func() int { return len(n.there()) }
		Eventually(left).Should(BeNumerically("<", 1000), "a step, on a list of all slices")
		Consistently(left).Should(BeNumerically(">=", 975), "which may end early, and the next not before the next list")
	})

	It("handles both families of a dual-stack pod", func(ctx SpecContext) {
		v6 := netip.MustParseAddr(fmt.Sprintf("fd00:42:%x::1", n.subnet))
		r4, r6 := n.remote(n.addr(1)), n.remote(v6)
		other := netip.MustParseAddr(fmt.Sprintf("fd00:42:%x::2", n.subnet))
		valid := n.remote(other)
		n.slice(ctx, "svc6", "lin-1", nil, other)
		local := n.local(n.addr(1), v6)
		n.pod(ctx, "web", n.addr(1), v6)
		n.start()
		Eventually(n.there).Should(ConsistOf(local, valid))
		Expect(n.service.Deleted()).To(ConsistOf(r4, r6))
	})

	It("tells the networks apart that use the same address", func(ctx SpecContext) {
		nat := n.service.CreateNetwork("nat", hns.NetworkNAT)
		onNAT := n.endpoint(hnstest.EndpointSpec{Network: nat.ID, Addresses: []netip.Addr{n.addr(1)}})
		Expect(n.service.Attach(onNAT, n.service.CreateNamespace())).To(Succeed())
		remote := n.remote(n.addr(1))
		n.slice(ctx, "svc", "lin-1", nil, n.addr(1))
		n.pod(ctx, "docker-like", n.addr(1))
		n.start()
		Eventually(n.verdicts("contested")).Should(BeEquivalentTo(1))
		n.keeps(onNAT, remote)
		local := n.local(n.addr(1))
		Eventually(n.there).Should(ConsistOf(onNAT, local))
	})

	It("removes nothing in observe mode", func(ctx SpecContext) {
		n.config.Mode = config.Observe
		remote, local := n.remote(n.addr(1)), n.local(n.addr(1))
		orphan := n.remote(n.addr(2))
		n.pod(ctx, "web", n.addr(1))
		n.start()
		Eventually(n.verdicts("conflict")).Should(BeEquivalentTo(1))
		Eventually(n.verdicts("orphan")).Should(BeEquivalentTo(1))
		n.keeps(remote, local, orphan)
	})

	It("tries again when a delete hangs and takes effect late", func(ctx SpecContext) {
		n.config.HNS.CallTimeout.Duration = time.Second
		n.remote(n.addr(1))
		local := n.local(n.addr(1))
		n.pod(ctx, "web", n.addr(1))
		release := n.service.Hang(hns.OpDeleteEndpoint)
		DeferCleanup(release)
		n.start()
		Eventually(func() float64 { return n.removals("conflict", "unknown") }).Should(BeEquivalentTo(1))
		Expect(n.metric("hnsguard_hns_calls_hung")).To(BeEquivalentTo(1))
		release()
		Eventually(func() float64 { return n.removals("conflict", "removed") + n.removals("conflict", "already_gone") }).
			Should(BeEquivalentTo(1))
		Expect(n.there()).To(ConsistOf(local))
		Eventually(func() float64 { return n.metric("hnsguard_hns_calls_hung") }).Should(BeZero())
	})

	It("tells a pod that refuses duplicates from one that does not wait", func(ctx SpecContext) {
		refusing := newNode(ctx, shared, hnstest.Options{Duplicates: hnstest.RefuseDuplicates})
		orphan := refusing.remote(refusing.addr(1))
		refusing.start()
		_, err := refusing.service.CreateEndpoint(hnstest.EndpointSpec{
			Network: refusing.network.ID, Addresses: []netip.Addr{refusing.addr(1)},
		})
		Expect(errors.Is(err, hnstest.ErrDuplicateAddress)).To(BeTrue())
		Eventually(refusing.there).ShouldNot(ContainElement(orphan), "after the grace period")
		refusing.local(refusing.addr(1))
	})

	It("reports a pod that has lost its endpoint, and evicts it if asked to", func(ctx SpecContext) {
		n.evictsVictims()
		n.local(n.addr(2))
		n.pod(ctx, "fine", n.addr(2))
		bare := n.pod(ctx, "bare", n.addr(3))
		victim := n.podWith(ctx, "victim", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "rs-uid", Controller: new(true),
			}}
		}, n.addr(1))
		n.start()
		Eventually(n.events(ctx, n.namespace, victim.Name)).Should(ContainElements(eviction.EventVictim, eviction.EventEvicted))
		Eventually(func(g Gomega) {
			var pod corev1.Pod
			g.Expect(n.cp.client.Get(ctx, keyOf(victim), &pod)).To(Succeed())
			g.Expect(pod.DeletionTimestamp).NotTo(BeNil())
		}).Should(Succeed())
		Eventually(n.victims).Should(ConsistOf(keyOf(bare).String()), "which no controller would replace")
		Expect(n.cp.client.Get(ctx, keyOf(bare), bare)).To(Succeed())
		Expect(bare.DeletionTimestamp).To(BeNil())
	})

	It("serves metrics and probes", func() {
		n.metrics, n.probes = freeAddress(), freeAddress()
		n.start()
		Eventually(get("http://" + n.probes + "/readyz")).Should(Equal("200 ok"))
		Eventually(get("http://" + n.probes + "/healthz")).Should(Equal("200 ok"))
		Eventually(get("http://" + n.metrics + "/metrics")).Should(And(
			HavePrefix("200"), ContainSubstring("hnsguard_build_info{"), ContainSubstring("hnsguard_last_pass_timestamp_seconds "),
			ContainSubstring(`hnsguard_enforcing{class="eviction"} 0`), ContainSubstring("controller_runtime_reconcile_total")))
		n.service.SetDown(true)
		Eventually(get("http://" + n.probes + "/readyz")).Should(HavePrefix("500"))
		Expect(get("http://" + n.probes + "/healthz")()).To(Equal("200 ok"))
	})
})

var _ = Describe("Without its API server", Serial, func() {
	It("the guard waits, deletes nothing on what it cannot confirm, and goes on when it is back", func(ctx SpecContext) {
		own := startControlPlane(ctx)
		n := newNode(ctx, own, hnstest.Options{})
		s := n.slice(ctx, "svc", "lin-1", nil, n.addr(2))
		n.pod(ctx, "web", n.addr(1))
		inUse := n.remote(n.addr(2))
		n.start()
		Eventually(n.verdicts("in_use")).Should(BeEquivalentTo(1))

		own.crash(ctx)
		remote, local := n.remote(n.addr(1)), n.local(n.addr(1))
		orphan := n.remote(n.addr(3))
		Eventually(func() float64 { return n.removals("conflict", "unconfirmed") }).Should(BeNumerically(">", 0))
		Eventually(func() float64 {
			return n.metric(`hnsguard_removals_skipped_total{brake="stale_watch",verdict="orphan"}`)
		}).Should(BeNumerically(">", 0))
		n.keeps(inUse, remote, local, orphan)

		Expect(own.env.ControlPlane.GetAPIServer().Start()).To(Succeed())
		Eventually(n.there, "60s").Should(ConsistOf(inUse, local))
		Eventually(func() error { return own.client.Get(ctx, keyOf(s), &discoveryv1.EndpointSlice{}) }).Should(Succeed())
		n.drop(ctx, s)
		Eventually(n.there, "60s").Should(ConsistOf(local))
	})
})

var _ = Describe("A fresh node", func() {
	It("waits for the API server for as long as it takes", func(ctx SpecContext) {
		n := newNode(ctx, shared, hnstest.Options{})
		n.probes = freeAddress()
		address := freeAddress() // where the API server cannot be reached yet
		n.api = rest.CopyConfig(shared.config)
		n.api.Host = "https://" + address
		n.impatient = 100 * time.Millisecond
		ended := n.launch()
		Consistently(ended).ShouldNot(Receive())
		Eventually(get("http://" + n.probes + "/healthz")).Should(Equal("200 ok"))
		Expect(get("http://" + n.probes + "/readyz")()).To(HavePrefix("500"))
		Expect(n.passes()).To(BeZero())

		server := shared.env.ControlPlane.GetAPIServer().ListenAddr
		forward(address, net.JoinHostPort(server.Address, server.Port))
		Eventually(n.passes, "60s").Should(BeNumerically(">", 0))
		Eventually(get("http://" + n.probes + "/readyz")).Should(Equal("200 ok"))
	})
})

// forward forwards connections from one address to another, until the spec ends.
func forward(from, to string) {
	GinkgoHelper()
	listener, err := net.Listen("tcp", from)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(listener.Close)
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return // the spec has ended
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			for a, b := range map[net.Conn]net.Conn{near: far, far: near} {
				go func() {
					_, _ = io.Copy(a, b)
					_ = a.Close()
				}()
			}
		}
	}()
}

// get returns the answer to a GET request, for Eventually.
func get(url string) func() (string, error) {
	return func() (string, error) {
		response, err := http.Get(url)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return fmt.Sprintf("%d %s", response.StatusCode, body), err
	}
}

// freeAddress returns an address with a port that the system gives to no connection.
func freeAddress() string {
	GinkgoHelper()
	return fmt.Sprintf("127.0.0.1:%d", freeport.GetOne(GinkgoT()))
}
