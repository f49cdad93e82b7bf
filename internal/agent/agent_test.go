// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// newAgent returns an agent that is never started.
func newAgent(t *testing.T) *agent.Agent {
	t.Helper()
	a, err := tryAgent(t, func(*agent.Options, *agent.Dependencies) {})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryAgent(t *testing.T, change func(*agent.Options, *agent.Dependencies)) (*agent.Agent, error) {
	t.Helper()
	scheme, err := agent.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	o := agent.Options{
		Node: "win-1", Namespace: "hnsguard", Config: config.Default(), HNS: hnstest.New(hnstest.Options{}),
		KubeProxy:      detect.Options{Version: "v1.37.2"},
		MetricsAddress: "0", ProbeAddress: "0", Logger: logr.Discard(), Clock: clock.RealClock{},
	}
	options, err := agent.ManagerOptions(o)
	if err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(scheme).Build()
	options.NewClient = func(*rest.Config, client.Options) (client.Client, error) { return api, nil }
	options.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
		return testrestmapper.TestOnlyStaticRESTMapper(scheme), nil
	}
	mgr, err := manager.New(&rest.Config{Host: "http://in-process.invalid"}, options)
	if err != nil {
		t.Fatal(err)
	}
	deps := agent.Dependencies{Manager: mgr, Reader: api, Watcher: api, Events: events.NewFakeRecorder(0)}
	change(&o, &deps)
	return agent.New(o, deps)
}

// Clients of a page that is not on loopback must be authorized.
func TestThePageIsOnLoopbackOrProtected(t *testing.T) {
	certificate, err := server.InMemory("win-1")
	if err != nil {
		t.Fatal(err)
	}
	filter := new(server.Filter)
	for _, tc := range []struct {
		address string
		tls     *server.Certificate
		filter  *server.Filter
		works   bool
	}{
		{address: "", works: true},
		{address: "0", works: true},
		{address: "127.0.0.1:9473", works: true},
		{address: "127.0.0.1:9473", tls: certificate, filter: filter, works: true},
		{address: ":9473", tls: certificate, filter: filter, works: true},
		{address: ":9473"},
		{address: ":9473", tls: certificate},
		{address: "10.0.0.4:9473", filter: filter},
	} {
		_, err := tryAgent(t, func(o *agent.Options, d *agent.Dependencies) {
			o.PageAddress, o.MetricsTLS, d.Filter = tc.address, tc.tls, tc.filter
		})
		if (err == nil) != tc.works {
			t.Errorf("%q, TLS %t, filter %t: %v", tc.address, tc.tls != nil, tc.filter != nil, err)
		}
	}
}

func TestAnAgentBeginsWithoutKnowingItsNode(t *testing.T) {
	g := NewWithT(t)
	status := newAgent(t).Report()
	g.Expect(status.State).To(Equal(report.StateStarting))
	g.Expect(status.KubeProxy.Version).To(Equal("v1.37.2"))
	g.Expect(status.Config).To(Equal(config.Default()))
}

func TestTheMetricsOfAllPartsAreLinted(t *testing.T) {
	g := NewWithT(t)
	g.Expect(testutil.GatherAndLint(newAgent(t).Metrics())).To(BeEmpty())
}

func TestTheReferenceOfTheMetricsIsUpToDate(t *testing.T) {
	g := NewWithT(t)
	var page bytes.Buffer
	families, err := newAgent(t).Metrics().Gather()
	g.Expect(err).NotTo(HaveOccurred())
	writeReference(&page, families)
	const file = "../../docs/metrics.md"
	if *update {
		g.Expect(os.WriteFile(file, page.Bytes(), 0o644)).To(Succeed())
	}
	present, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(present)).To(Equal(page.String()), "run: make generate-metrics")
}

// With client-go's default limits a step of orphans would hold up its pass.
func TestTheRateLimitsOfRequestsAreNotTheDefaults(t *testing.T) {
	g := NewWithT(t)
	deps, err := agent.FromCluster(&rest.Config{Host: "http://in-process.invalid"}, agent.Options{
		Node: "win-1", ProbeAddress: "0", Logger: logr.Discard(), Clock: clock.RealClock{},
	})
	g.Expect(err).NotTo(HaveOccurred())
	limits := deps.Manager.GetConfig()
	g.Expect(limits.QPS).To(BeEquivalentTo(20))
	g.Expect(limits.Burst).To(Equal(50))
}
