// SPDX-License-Identifier: Apache-2.0

package hnstest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// Invariants 1 and 2: the simulation behaves as assumed of HNS, and differently with each switch.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, p := range hnstest.Positions() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			service := hnstest.Service{HNS: hnstest.New(p.Options)}
			o := contractOptions(service)
			if slices.Contains(p.Refutes, "fast") {
				o.CallTimeout = p.Options.Latency
			}
			results, err := contract.Run(t.Context(), service, o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(p.Judge(results)).To(Succeed())
			if p.Options.Quirks&hnstest.KeepsDeleted == 0 {
				g.Expect(service.State().Endpoints).To(BeEmpty(), "invariant 3 of package contract")
			}
			g.Expect(service.State().LoadBalancers).To(BeEmpty())
			g.Expect(service.State().Namespaces).To(BeEmpty())
		})
	}
}

func contractOptions(service contract.Service) contract.Options {
	network, _ := service.CreateNetwork(context.Background(), "azure", hns.NetworkL2Bridge, contract.Subnet())
	return contract.Options{
		Network: network, Endpoints: 100, CallTimeout: 10 * time.Second, LocalSystem: true, Clock: clock.RealClock{},
		Report: func(contract.Result) {},
	}
}

// Each assumption that can be checked is refuted in one position.
func TestEveryAssumptionHasASwitch(t *testing.T) {
	g := NewWithT(t)
	refutable := []string{"local-system"} // it depends on the account, not on HNS
	for _, p := range hnstest.Positions() {
		refutable = append(refutable, p.Refutes...)
	}
	seen := map[string]bool{}
	for _, a := range contract.Assumptions() {
		g.Expect(seen[a.ID]).To(BeFalse(), "%s is there twice", a.ID)
		seen[a.ID] = true
		g.Expect([]string{a.Statement, a.RestsOn, a.Check, a.Source}).NotTo(ContainElement(""), a.ID)
		g.Expect(slices.Contains(refutable, a.ID)).To(Equal(a.Checked()), a.ID)
	}
}

// The decorators preserve everything that is assumed of HNS.
func TestContractOfDecorators(t *testing.T) {
	g := NewWithT(t)
	position := hnstest.Positions()[0]
	plain := hnstest.Service{HNS: hnstest.New(position.Options)}
	client := observe.WithMetrics(
		hns.WithDeadline(plain, hns.DeadlineOptions{
			Call: time.Minute, List: time.Minute, MaxHung: 1, Clock: clock.RealClock{},
		}),
		observe.NewMetrics(prometheus.NewRegistry()), clock.RealClock{})
	results, err := contract.Run(t.Context(), decorated{plain, client}, contractOptions(plain))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(position.Judge(results)).To(Succeed())
}

// decorated is an HNS with another client for reads.
type decorated struct {
	hnstest.Service
	client hns.Client
}

func (d decorated) Networks(ctx context.Context) ([]hns.Network, error) {
	return d.client.Networks(ctx)
}

func (d decorated) ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error) {
	return d.client.ListEndpointIDs(ctx)
}

func (d decorated) Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	return d.client.Endpoint(ctx, id)
}

func (d decorated) LoadBalancers(ctx context.Context) ([]hns.LoadBalancer, error) {
	return d.client.LoadBalancers(ctx)
}

func (d decorated) DeleteEndpoint(ctx context.Context, id hns.EndpointID) error {
	return d.client.DeleteEndpoint(ctx, id)
}

func create(t *testing.T, service *hnstest.HNS, spec hnstest.EndpointSpec) hns.EndpointID {
	t.Helper()
	made, err := service.CreateEndpoint(spec)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}
