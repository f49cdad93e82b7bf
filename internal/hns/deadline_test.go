// SPDX-License-Identifier: Apache-2.0

package hns_test

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

func deadlineOptions() hns.DeadlineOptions {
	return hns.DeadlineOptions{Call: 10 * time.Second, List: time.Minute, MaxHung: 3, Clock: clock.RealClock{}}
}

func withRemote(t *testing.T) (*hnstest.HNS, hns.EndpointID) {
	t.Helper()
	service := hnstest.New(hnstest.Options{})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge)
	made, err := service.CreateEndpoint(hnstest.EndpointSpec{
		Network: network.ID, Flags: hns.FlagRemote, Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return service, made.ID
}

// Invariant 5: an abandoned delete is not a failed delete.
func TestDeadlineAbandonsAndTheCallTakesEffectLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		service, id := withRemote(t)
		client := hns.WithDeadline(service, deadlineOptions())
		release := service.Hang(hns.OpDeleteEndpoint)

		start := time.Now()
		g.Expect(client.DeleteEndpoint(t.Context(), id)).To(MatchError(hns.ErrTimeout))
		g.Expect(time.Since(start)).To(Equal(10 * time.Second))
		g.Expect(client.Hung()).To(Equal(1))
		g.Expect(client.Endpoint(t.Context(), id)).To(HaveField("ID", id), "other calls go on")

		release()
		synctest.Wait()
		g.Expect(client.Hung()).To(BeZero())
		_, err := client.Endpoint(t.Context(), id)
		g.Expect(err).To(MatchError(hns.ErrNotFound), "the delete took effect late")
	})
}

func TestDeadlineRefusesWhenTooManyHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		service, id := withRemote(t)
		client := hns.WithDeadline(service, deadlineOptions())
		release := service.Hang(hns.OpEndpoint)
		before := runtime.NumGoroutine()
		for range 10 {
			_, err := client.Endpoint(t.Context(), id)
			g.Expect(err).To(Or(MatchError(hns.ErrTimeout), MatchError(hns.ErrSaturated)))
		}
		g.Expect(client.Hung()).To(Equal(3))
		g.Expect(runtime.NumGoroutine() - before).To(BeNumerically("<=", 3))
		_, err := client.Networks(t.Context())
		g.Expect(err).To(MatchError(hns.ErrSaturated))

		release()
		synctest.Wait()
		g.Expect(client.Hung()).To(BeZero())
		_, err = client.Networks(t.Context())
		g.Expect(err).NotTo(HaveOccurred(), "it recovers by itself")
	})
}

func TestDeadlineKnowsForHowLongItHasBeenSaturated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		service, _ := withRemote(t)
		client := hns.WithDeadline(service, deadlineOptions())
		g.Expect(client.Saturated()).To(BeZero())
		release := service.Hang(hns.OpListEndpointIDs)
		for i := range deadlineOptions().MaxHung {
			time.Sleep(time.Hour)
			g.Expect(client.Saturated()).To(BeZero(), "%d calls hang, and one more is permitted", i)
			_, err := client.ListEndpointIDs(t.Context())
			g.Expect(err).To(MatchError(hns.ErrTimeout))
		}
		time.Sleep(10 * time.Minute)
		_, err := client.ListEndpointIDs(t.Context())
		g.Expect(err).To(MatchError(hns.ErrSaturated))
		g.Expect(client.Saturated()).To(Equal(10*time.Minute), "a refused call changes nothing")

		release()
		synctest.Wait()
		g.Expect(client.Saturated()).To(BeZero())
	})
}

func TestDeadlineFollowsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		service, _ := withRemote(t)
		client := hns.WithDeadline(service, deadlineOptions())
		release := service.Hang(hns.OpListEndpointIDs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.ListEndpointIDs(ctx)
		g.Expect(err).To(MatchError(context.DeadlineExceeded))
		g.Expect(client.Hung()).To(Equal(1))
		release()
		synctest.Wait()
		g.Expect(client.Hung()).To(BeZero())
	})
}

func TestListsMayTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		service := hnstest.New(hnstest.Options{Latency: 30 * time.Second})
		service.CreateNetwork("azure", hns.NetworkL2Bridge)
		client := hns.WithDeadline(service, deadlineOptions())
		_, err := client.LoadBalancers(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		_, err = client.ListEndpointIDs(t.Context())
		g.Expect(err).To(MatchError(hns.ErrTimeout))
		time.Sleep(time.Minute) // let the abandoned call return
	})
}

func TestMetrics(t *testing.T) {
	g := NewWithT(t)
	service, id := withRemote(t)
	registry := prometheus.NewPedanticRegistry()
	deadline := hns.WithDeadline(service, deadlineOptions())
	observe.RegisterHung(registry, deadline)
	client := observe.WithMetrics(deadline, observe.NewMetrics(registry), clock.RealClock{})

	g.Expect(testutil.GatherAndLint(registry)).To(BeEmpty())
	g.Expect(testutil.GatherAndCount(registry, "hnsguard_hns_call_errors_total")).
		To(Equal(len(hns.Operations())*len(hns.ErrorClasses())), "every series exists from the start")

	g.Expect(client.DeleteEndpoint(t.Context(), id)).To(Succeed())
	g.Expect(client.DeleteEndpoint(t.Context(), id)).To(MatchError(hns.ErrNotFound))
	service.SetDown(true)
	_, err := client.Networks(t.Context())
	g.Expect(err).To(MatchError(hns.ErrUnavailable))

	g.Expect(errorCount(t, registry, hns.OpDeleteEndpoint, hns.ClassNotFound)).To(BeEquivalentTo(1))
	g.Expect(errorCount(t, registry, hns.OpNetworks, hns.ClassUnavailable)).To(BeEquivalentTo(1))
	g.Expect(errorCount(t, registry, hns.OpNetworks, hns.ClassOther)).To(BeZero())
}

func errorCount(t *testing.T, registry prometheus.Gatherer, op hns.Operation, class hns.ErrorClass) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() == "hnsguard_hns_call_errors_total" &&
				labels["operation"] == string(op) && labels["class"] == string(class) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no series for %s, %s", op, class)
	return 0
}

func TestClassOf(t *testing.T) {
	for err, want := range map[error]hns.ErrorClass{
		hns.ErrNotFound: hns.ClassNotFound, hns.ErrUnavailable: hns.ClassUnavailable, hns.ErrTimeout: hns.ClassTimeout,
		hns.ErrSaturated: hns.ClassSaturated, context.Canceled: hns.ClassCanceled,
		context.DeadlineExceeded: hns.ClassCanceled, hns.ErrUnsupported: hns.ClassOther,
	} {
		NewWithT(t).Expect(hns.ClassOf(err)).To(Equal(want), err.Error())
	}
}

func TestTheVersionHasADeadline(t *testing.T) {
	g := NewWithT(t)
	service := hnstest.New(hnstest.Options{})
	g.Expect(hns.WithDeadline(service, deadlineOptions()).Version(t.Context())).To(Equal("0.1"))
	_, err := hns.WithDeadline(hnstest.New(hnstest.Options{Quirks: hnstest.HidesVersion}), deadlineOptions()).Version(t.Context())
	g.Expect(err).To(MatchError(errors.ErrUnsupported))
	slow := slowVersion{service, make(chan struct{})}
	defer close(slow.release)
	options := deadlineOptions()
	options.Call = time.Millisecond
	_, err = hns.WithDeadline(slow, options).Version(t.Context())
	g.Expect(err).To(MatchError(hns.ErrTimeout))
}

// slowVersion is a client that does not answer.
type slowVersion struct {
	hns.Client
	release chan struct{}
}

func (s slowVersion) Version(context.Context) (string, error) {
	<-s.release
	return "", nil
}
