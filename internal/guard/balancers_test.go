// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
)

func TestALoadBalancerSavesAnOrphanAndIsNamedAfterAConflict(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	orphan := n.Remote("10.240.0.12")
	balancer, err := n.HNS.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{orphan}})
	g.Expect(err).NotTo(HaveOccurred())
	n.passes(6 * time.Minute)
	g.Expect(n.There()).To(ConsistOf(orphan))
	g.Expect(n.Series("hnsguard_endpoints{verdict=orphan_pending}")).To(BeEquivalentTo(1))

	n.HNS.Fail(hns.OpLoadBalancers, hns.ErrNotFound)
	g.Expect(n.HNS.DeleteLoadBalancer(balancer.ID)).To(Succeed())
	n.passes(time.Minute)
	g.Expect(n.There()).To(ConsistOf(orphan), "unknown is not none")
	n.HNS.Heal()
	n.passes(90 * time.Second) // a failed reading is repeated after a minute
	g.Expect(n.There()).To(BeEmpty())

	remote, _ := n.Conflict("web", ip)
	_, err = n.HNS.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{remote}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(n.Balancers.Read(t.Context())).To(Succeed())
	n.pass()
	n.pass()
	g.Expect(n.There()).NotTo(ContainElement(remote))
	g.Expect(n.Series("hnsguard_load_balancers_left_dangling_total")).To(BeEquivalentTo(1))
}

func TestALoadBalancerThatDanglesIsNoticed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	local := n.Local(ip)
	balancer, err := n.HNS.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{local}})
	g.Expect(err).NotTo(HaveOccurred())
	n.pass()
	n.Delete(local)
	n.Wait(5 * time.Second)
	n.pass()
	g.Expect(n.broken()).To(BeEmpty(), "once may be chance")
	n.Wait(5 * time.Second)
	n.pass()
	n.pass()
	g.Expect(n.broken()).To(ConsistOf(HaveField("ID", balancer.ID)))
	g.Expect(n.Series("hnsguard_load_balancers{verdict=dangling}")).To(BeEquivalentTo(1))

	g.Expect(n.HNS.DeleteLoadBalancer(balancer.ID)).To(Succeed())
	n.Wait(11 * time.Second)
	n.pass()
	n.pass()
	g.Expect(n.broken()).To(BeEmpty())
	g.Expect(n.Series("hnsguard_load_balancers{verdict=dangling}")).To(BeZero())
}

// An endpoint that is created while load balancers are read is not in the snapshot.
func TestALoadBalancerOfANewEndpointDoesNotDangle(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.HNS.Before(hns.OpLoadBalancers, func() {
		_, err := n.HNS.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{n.Remote(ip)}})
		g.Expect(err).NotTo(HaveOccurred())
	})
	n.pass()
	n.Wait(time.Minute)
	n.pass()
	n.pass()
	g.Expect(n.broken()).To(BeEmpty())
}

func TestLoadBalancersAreReadSparingly(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.HNS.ResetCalls()
	n.passes(4 * time.Minute)
	g.Expect(n.Calls(hns.OpLoadBalancers)).To(Equal(4), "nothing needs them more often yet")
	n.HoldWatch()
	n.API.Advance()
	n.HNS.ResetCalls()
	n.passes(5 * time.Minute)
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.Calls(hns.OpLoadBalancers)).To(And(BeNumerically(">=", 5), BeNumerically("<=", 5*60/5)))
}
