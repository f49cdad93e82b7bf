// SPDX-License-Identifier: Apache-2.0

package loadbalancer_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// service returns what kube-proxy makes for a Service's address and port.
func service(t *testing.T, in *hnstest.HNS, vip string, port uint16) hns.LoadBalancerID {
	t.Helper()
	lb, err := in.CreateLoadBalancer(hns.LoadBalancer{
		FrontendVIPs: []netip.Addr{netip.MustParseAddr(vip)},
		Ports:        []hns.PortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: port}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return lb.ID
}

// story reads load balancers a minute apart, before and after each step.
type story struct {
	*GomegaWithT
	t      *testing.T
	reader *loadbalancer.Reader
	hns    *hnstest.HNS
}

func tell(t *testing.T, of func(s story)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		reader, in, _ := newReader(t, 0)
		of(story{NewWithT(t), t, reader, in})
	})
}

func (s story) read(times int) {
	s.t.Helper()
	for range times {
		time.Sleep(time.Minute)
		s.Expect(s.reader.Read(s.t.Context())).To(Succeed())
	}
}

func (s story) absent() []string {
	all, _ := s.reader.Absent()
	var names []string
	for _, a := range all {
		names = append(names, a.String())
	}
	return names
}

// Invariant 4.
func TestAFrontendThatWasThereIsAbsent(t *testing.T) {
	tell(t, func(s story) {
		gone := service(s.t, s.hns, "10.0.0.7", 80)
		service(s.t, s.hns, "10.0.0.7", 443)
		service(s.t, s.hns, "fd00:10::7", 80)
		s.read(2)
		s.Expect(s.hns.DeleteLoadBalancer(gone)).To(Succeed())
		s.read(1)
		since := time.Now()
		s.Expect(s.absent()).To(BeEmpty(), "once may be chance")
		s.Expect(s.reader.Run(s.t.Context(), passWith())).To(BeNumerically("<=", time.Second), "the second reading comes soon")
		s.read(1)
		s.Expect(s.absent()).To(ConsistOf("10.0.0.7:80/TCP"))
		s.Expect(s.reader.Run(s.t.Context(), passWith())).To(BeNumerically("<=", 11*time.Second))
		all, read := s.reader.Absent()
		s.Expect(all[0].Since).To(Equal(since))
		s.Expect(read).To(Equal(time.Now()))

		service(s.t, s.hns, "10.0.0.7", 80)
		s.read(1)
		s.Expect(s.absent()).To(BeEmpty(), "it is there again")
		s.Expect(s.reader.Run(s.t.Context(), passWith())).To(BeNumerically(">", 50*time.Second), "there is no hurry any more")
	})
}

// Invariant 4.
func TestWhatWasSeenOnceIsNotMissed(t *testing.T) {
	tell(t, func(s story) {
		s.read(2)
		gone := service(s.t, s.hns, "10.0.0.7", 80)
		s.read(1)
		s.Expect(s.hns.DeleteLoadBalancer(gone)).To(Succeed())
		s.read(3)
		s.Expect(s.absent()).To(BeEmpty())
	})
}

// Invariants 1 and 4.
func TestAFailedReadingIsNotOneWithout(t *testing.T) {
	tell(t, func(s story) {
		gone := service(s.t, s.hns, "10.0.0.7", 80)
		s.read(2)
		s.Expect(s.hns.DeleteLoadBalancer(gone)).To(Succeed())
		s.read(1)
		s.hns.Fail(hns.OpLoadBalancers, hns.ErrUnavailable)
		for range 5 {
			s.Expect(s.reader.Read(s.t.Context())).NotTo(Succeed())
		}
		s.Expect(s.absent()).To(BeEmpty())
		s.hns.Heal()
		s.read(1)
		s.Expect(s.absent()).To(HaveLen(1))
	})
}

func TestALoadBalancerThatIsMadeAnewIsNotAbsent(t *testing.T) {
	tell(t, func(s story) {
		id := service(s.t, s.hns, "10.0.0.7", 80)
		s.read(2)
		for range 5 {
			s.Expect(s.hns.DeleteLoadBalancer(id)).To(Succeed())
			s.read(1)
			id = service(s.t, s.hns, "10.0.0.7", 80)
			s.read(2)
			s.Expect(s.absent()).To(BeEmpty())
		}
	})
}

func TestNodePortsAreNotMissed(t *testing.T) {
	tell(t, func(s story) {
		lb, err := s.hns.CreateLoadBalancer(hns.LoadBalancer{Ports: []hns.PortMapping{{Protocol: 6, ExternalPort: 30080}}})
		s.Expect(err).NotTo(HaveOccurred())
		s.read(2)
		s.Expect(s.hns.DeleteLoadBalancer(lb.ID)).To(Succeed())
		s.read(3)
		s.Expect(s.absent()).To(BeEmpty())
	})
}

func TestWhatIsForgottenIsAbsentOnlyWhenItWasThereAgain(t *testing.T) {
	tell(t, func(s story) {
		gone := service(s.t, s.hns, "10.0.0.7", 80)
		s.read(2)
		s.Expect(s.hns.DeleteLoadBalancer(gone)).To(Succeed())
		s.read(2)
		all, _ := s.reader.Absent()
		s.Expect(all).To(HaveLen(1))
		s.reader.Forget(all[0].Frontend)
		s.read(3)
		s.Expect(s.absent()).To(BeEmpty())
		gone = service(s.t, s.hns, "10.0.0.7", 80)
		s.read(2)
		s.Expect(s.hns.DeleteLoadBalancer(gone)).To(Succeed())
		s.read(2)
		s.Expect(s.absent()).To(HaveLen(1))
	})
}

// Invariant 4.
func TestABoundedNumberIsRemembered(t *testing.T) {
	tell(t, func(s story) {
		for range 3 {
			var ids []hns.LoadBalancerID
			for port := range uint16(800) {
				ids = append(ids, service(s.t, s.hns, "10.0.0.7", 1+port))
				ids = append(ids, service(s.t, s.hns, "10.0.0.8", 1+port))
			}
			s.read(2)
			for _, id := range ids {
				s.Expect(s.hns.DeleteLoadBalancer(id)).To(Succeed())
			}
			s.read(2)
			s.Expect(s.absent()).To(HaveLen(1000))
		}
	})
}

func TestFrontendsHaveNames(t *testing.T) {
	g := NewWithT(t)
	for name, front := range map[string]loadbalancer.Frontend{
		"10.0.0.10:53/UDP":    {VIP: netip.MustParseAddr("10.0.0.10"), Protocol: 17, Port: 53},
		"[fd00:10::7]:80/TCP": {VIP: netip.MustParseAddr("fd00:10::7"), Protocol: 6, Port: 80},
		"10.0.0.10:9/132":     {VIP: netip.MustParseAddr("10.0.0.10"), Protocol: 132, Port: 9},
	} {
		g.Expect(front.String()).To(Equal(name))
	}
}
