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
	"github.com/hnsguard/hnsguard/internal/hns/simulated"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// newAgent makes an agent that is never started.
func newAgent(t *testing.T) *agent.Agent {
	t.Helper()
	scheme, err := agent.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	o := agent.Options{
		Node: "win-1", Namespace: "hnsguard", Config: config.Default(), HNS: simulated.New(simulated.Options{}),
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
	a, err := agent.New(o, agent.Dependencies{
		Manager: mgr, Reader: api, Watcher: api, Events: events.NewFakeRecorder(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
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
