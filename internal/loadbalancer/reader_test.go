// SPDX-License-Identifier: Apache-2.0

package loadbalancer_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// timed measures the time that reading takes.
type timed struct {
	*hnstest.HNS
	readings int
	busy     time.Duration
}

func (h *timed) LoadBalancers(ctx context.Context) ([]hns.LoadBalancer, error) {
	defer func(start time.Time) {
		h.readings++
		h.busy += time.Since(start)
	}(time.Now())
	return h.HNS.LoadBalancers(ctx)
}

// newReader returns a reader of an HNS that holds a network and nothing else.
func newReader(t *testing.T, latency time.Duration) (*loadbalancer.Reader, *hnstest.HNS, hns.NetworkID) {
	t.Helper()
	service := hnstest.New(hnstest.Options{Latency: latency, Clock: clock.RealClock{}})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge, netip.MustParsePrefix("10.240.0.0/16"))
	return loadbalancer.NewReader(loadbalancer.ReaderOptions{
		HNS: service, Registerer: prometheus.NewRegistry(), Clock: clock.RealClock{},
	}), service, network.ID
}

func endpoint(t *testing.T, service *hnstest.HNS, network hns.NetworkID) hns.EndpointID {
	t.Helper()
	e, err := service.CreateEndpoint(hnstest.EndpointSpec{
		Network: network, Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}, Flags: hns.FlagRemote,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}

func balancer(t *testing.T, service *hnstest.HNS, of ...hns.EndpointID) hns.LoadBalancer {
	t.Helper()
	lb, err := service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: of})
	if err != nil {
		t.Fatal(err)
	}
	return lb
}

// A reading takes time: a load balancer may have been read at its beginning.
func TestAReadingIsAsOldAsItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		reader, service, network := newReader(t, time.Second)
		balancer(t, service, endpoint(t, service, network))
		g.Expect(reader.ReadSince(time.Now())).To(BeFalse(), "nothing was read yet")
		g.Expect(reader.Requested()).To(BeTrue())
		begun := time.Now()
		g.Expect(reader.Read(t.Context())).To(Succeed())
		g.Expect(time.Since(begun)).To(BeNumerically(">", time.Second))
		_, at, _ := reader.Last()
		g.Expect(at).To(Equal(begun))
		g.Expect(reader.ReadSince(begun)).To(BeTrue())
		g.Expect(reader.Requested()).To(BeFalse())
		g.Expect(reader.ReadSince(begun.Add(1))).To(BeFalse())
		g.Expect(reader.Requested()).To(BeFalse(), "HNS has a rest between two readings")
		time.Sleep(time.Hour)
		g.Expect(reader.ReadSince(begun.Add(1))).To(BeFalse())
		g.Expect(reader.Requested()).To(BeTrue())
	})
}

// Invariant 1.
func TestAFailedReadingReplacesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		reader, service, network := newReader(t, 0)
		_, _, known := reader.Last()
		g.Expect(known).To(BeFalse())

		lb := balancer(t, service, endpoint(t, service, network))
		begun := time.Now()
		g.Expect(reader.Read(t.Context())).To(Succeed())
		for _, op := range []hns.Operation{hns.OpLoadBalancers, hns.OpListEndpointIDs} {
			time.Sleep(time.Minute)
			service.FailNext(op, hns.ErrUnavailable)
			err := reader.Read(t.Context())
			g.Expect(err).To(And(MatchError(hns.ErrUnavailable), MatchError(ContainSubstring("reading load balancers"))))
			last, at, known := reader.Last()
			g.Expect(known).To(BeTrue())
			g.Expect(last).To(ConsistOf(HaveField("ID", lb.ID)))
			g.Expect(at).To(Equal(begun), "the age is that of the reading that succeeded")
		}
	})
}

// What was read may have changed since the reading began.
func TestTheAgeOfAReadingIsThatOfItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		reader, service, network := newReader(t, time.Second)
		balancer(t, service, endpoint(t, service, network))
		begun := time.Now()
		g.Expect(reader.Read(t.Context())).To(Succeed())
		g.Expect(time.Since(begun)).To(BeNumerically(">=", time.Second), "reading takes time")
		_, at, _ := reader.Last()
		g.Expect(at).To(Equal(begun))
	})
}

// Invariant 2.
func TestOneReadingIsNotEnoughToDangle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		reader, service, network := newReader(t, 0)
		id := endpoint(t, service, network)
		lb := balancer(t, service, id, endpoint(t, service, network))
		g.Expect(service.DeleteEndpoint(t.Context(), id)).To(Succeed())

		g.Expect(reader.Read(t.Context())).To(Succeed())
		g.Expect(reader.Dangling()).To(BeEmpty())
		g.Expect(reader.Run(t.Context(), passWith())).To(BeNumerically("<=", time.Second), "the second reading comes soon")
		g.Expect(reader.Read(t.Context())).To(Succeed())
		g.Expect(reader.Dangling()).To(ConsistOf(HaveField("ID", lb.ID)))

		g.Expect(service.DeleteLoadBalancer(lb.ID)).To(Succeed())
		g.Expect(reader.Read(t.Context())).To(Succeed())
		g.Expect(reader.Dangling()).To(BeEmpty())
	})
}

// Invariant 3.
func TestASlowHNSIsReadLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		_, service, network := newReader(t, time.Second)
		id := endpoint(t, service, network)
		for range 50 {
			balancer(t, service, id)
		}
		h := &timed{HNS: service}
		reader := loadbalancer.NewReader(loadbalancer.ReaderOptions{
			HNS: h, Registerer: prometheus.NewRegistry(), Clock: clock.RealClock{},
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- reader.Start(ctx) }()

		const observed = 8 * time.Hour
		unknown := passWith(verdict.Verdict{Reason: verdict.ReasonLoadBalancersUnknown})
		for start := time.Now(); time.Since(start) < observed; time.Sleep(time.Second) {
			reader.Run(ctx, unknown)
		}
		stop()
		g.Expect(<-ended).To(Succeed())
		g.Expect(h.readings).To(BeNumerically(">", 5), "an orphan needs them")
		g.Expect(float64(h.busy)/float64(observed)).To(BeNumerically("<=", 0.06), "%d readings", h.readings)
	})
}

func passWith(verdicts ...verdict.Verdict) pass.Pass {
	return pass.Pass{Evidence: verdict.Evidence{Now: time.Now()}, Verdicts: verdicts}
}
