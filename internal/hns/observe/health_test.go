// SPDX-License-Identifier: Apache-2.0

package observe_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

func TestHealth(t *testing.T) {
	g := NewWithT(t)
	begin := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	clk := testingclock.NewFakeClock(begin)
	service := hnstest.New(hnstest.Options{})
	metrics := observe.NewMetrics(prometheus.NewPedanticRegistry())
	client := observe.WithMetrics(service, metrics, clk)
	list := func() { _, _ = client.ListEndpointIDs(t.Context()) }
	networks := func() { _, _ = client.Networks(t.Context()) }
	g.Expect(metrics.Health()).To(Equal(observe.Health{Failing: []observe.Failure{}}))

	list()
	g.Expect(metrics.Health()).To(Equal(observe.Health{Answered: begin, Failing: []observe.Failure{}}))

	service.Fail(hns.OpListEndpointIDs, fmt.Errorf("listing: %w", hns.ErrTimeout))
	clk.Step(time.Second)
	list()
	clk.Step(time.Second)
	list()
	networks() // a success of another operation does not end the run of failures
	failure := observe.Failure{
		Operation: hns.OpListEndpointIDs, Class: hns.ClassTimeout, Message: "listing: HNS call timed out",
		Since: begin.Add(time.Second), Last: begin.Add(2 * time.Second), Count: 2,
	}
	g.Expect(metrics.Health()).To(Equal(observe.Health{
		Answered: begin.Add(2 * time.Second), Failing: []observe.Failure{failure}, LastFailure: &failure,
	}))

	service.Heal()
	list()
	g.Expect(metrics.Health().Failing).To(BeEmpty())
	g.Expect(metrics.Health().LastFailure).To(HaveValue(Equal(failure)), "it is remembered")

	_, err := client.Endpoint(t.Context(), "none")
	g.Expect(err).To(MatchError(hns.ErrNotFound))
	g.Expect(metrics.Health().Failing).To(BeEmpty(), "that it does not exist is an answer")

	service.Fail(hns.OpNetworks, errors.New(strings.Repeat("ä", 1000)))
	networks()
	message := metrics.Health().LastFailure.Message
	g.Expect(message).To(And(HaveSuffix("ä…"), WithTransform(func(s string) int { return len(s) }, BeNumerically("<", 600))))
}
