// SPDX-License-Identifier: Apache-2.0

package loadbalancer_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
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

// newReader returns a reader of an HNS that has only a network.
func newReader(t *testing.T, latency time.Duration) (*loadbalancer.Reader, *hnstest.HNS, hns.NetworkID) {
	t.Helper()
	service := hnstest.New(hnstest.Options{Latency: latency, Clock: clock.RealClock{}})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge, netip.MustParsePrefix("10.240.0.0/16"))
	return loadbalancer.NewReader(readerOptions(service)), service, network.ID
}

// readerOptions returns the options of a reader on a node whose kube-proxy has never synced.
func readerOptions(service loadbalancer.HNS) loadbalancer.ReaderOptions {
	return loadbalancer.ReaderOptions{
		HNS: service, Clock: clock.RealClock{}, WatchLag: watchLag, Revision: func() uint64 { return 1 },
		Syncs: func(context.Context) (uint64, error) { return 0, nil },
	}
}

const watchLag = 200 * time.Second

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
		for _, op := range []hns.Operation{hns.OpLoadBalancers} {
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

// Broken load balancers are read again soon, and at once if they are new.
func TestWhatIsBrokenIsReadAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		reader, _, _ := newReader(t, 0)
		g.Expect(reader.Read(t.Context())).To(Succeed())
		g.Expect(reader.Run(t.Context(), passWith())).To(Equal(time.Minute))
		reader.ReadSoon(false)
		g.Expect(reader.Run(t.Context(), passWith())).To(Equal(11 * time.Second))
		reader.ReadSoon(true)
		g.Expect(reader.Run(t.Context(), passWith())).To(Equal(time.Second))
		reader.ReadSoon(false)
		g.Expect(reader.Run(t.Context(), passWith())).To(Equal(time.Second))
	})
}

// Invariant 8. There is a reading every ten seconds.
func TestWhatKubeProxyHasProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		revision, syncs, err := uint64(7), uint64(20), error(nil)
		service := hnstest.New(hnstest.Options{Clock: clock.RealClock{}})
		options := readerOptions(service)
		options.Revision = func() uint64 { return revision }
		options.Syncs = func(context.Context) (uint64, error) { return syncs, err }
		reader := loadbalancer.NewReader(options)
		after := func(d time.Duration, more uint64) uint64 {
			for range d / (10 * time.Second) {
				time.Sleep(10 * time.Second)
				g.Expect(reader.Read(t.Context())).To(Succeed())
			}
			syncs += more
			time.Sleep(10 * time.Second)
			g.Expect(reader.Read(t.Context())).To(Succeed())
			return reader.Reading().Processed
		}
		g.Expect(after(100*time.Second, 10)).To(BeZero(), "its watch may lag")
		g.Expect(after(watchLag, 3)).To(BeZero(), "a sync may have been running")
		g.Expect(after(0, 1)).To(BeEquivalentTo(7))

		revision = 9
		g.Expect(after(watchLag-10*time.Second, 4)).To(BeEquivalentTo(7), "its watch may lag")
		revision = 11
		g.Expect(after(0, 4)).To(BeEquivalentTo(7), "the syncs may have begun before its watch caught up")
		g.Expect(after(0, 4)).To(BeEquivalentTo(9))
		g.Expect(after(watchLag-20*time.Second, 4)).To(BeEquivalentTo(9))
		g.Expect(after(0, 4)).To(BeEquivalentTo(11), "its proof began while the other was under way")
		err = errors.New("connection refused")
		g.Expect(after(0, 0)).To(BeZero(), "it may have been restarted")
		err = nil
		g.Expect(after(0, 0)).To(BeEquivalentTo(11))
		syncs = 0
		g.Expect(after(0, 2)).To(BeZero(), "it was restarted, and makes all load balancers again")
		g.Expect(after(watchLag, 4)).To(BeEquivalentTo(11))
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
		reader := loadbalancer.NewReader(readerOptions(h))
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
