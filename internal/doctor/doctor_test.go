// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// server is an API server for doctor. A test may change its fields before the first request.
type server struct {
	version   string
	secretive bool     // it hides its version
	denies    []string // rights, as "verb resource/subresource"
	unsure    string   // why it cannot decide on those
	// proxyImage is the image of kube-proxy's pod, if any.
	proxyImage string

	mu    sync.Mutex
	asked []authorizationv1.ResourceAttributes
}

func newServer() *server { return &server{version: "v1.34.2"} }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/version" && s.secretive:
		w.WriteHeader(http.StatusForbidden)
		answer(w, metav1.Status{Status: "Failure", Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden})
	case r.URL.Path == "/version":
		answer(w, map[string]string{"gitVersion": s.version})
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		var review authorizationv1.SelfSubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		right := review.Spec.ResourceAttributes
		text := strings.TrimSuffix(right.Verb+" "+right.Resource+"/"+right.Subresource, "/")
		review.Status.Allowed = !slices.Contains(s.denies, text)
		if !review.Status.Allowed {
			review.Status.EvaluationError = s.unsure
		}
		s.mu.Lock()
		s.asked = append(s.asked, *right)
		s.mu.Unlock()
		answer(w, review)
	case r.URL.Path == "/api":
		answer(w, metav1.APIVersions{Versions: []string{"v1"}})
	case r.URL.Path == "/apis":
		answer(w, metav1.APIGroupList{})
	case r.URL.Path == "/api/v1":
		answer(w, metav1.APIResourceList{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "pods", Kind: "Pod", Namespaced: true, Verbs: metav1.Verbs{"list"}},
		}})
	case s.proxyImage != "" && r.URL.Path == "/api/v1/pods":
		answer(w, corev1.PodList{Items: []corev1.Pod{{
			Spec: corev1.PodSpec{
				NodeName: "win-1", HostNetwork: true,
				Containers: []corev1.Container{{Name: "kube-proxy", Image: s.proxyImage}},
			},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
				Name: "kube-proxy", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			}}},
		}}})
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(w, metav1.Status{Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
	}
}

func answer(w http.ResponseWriter, body any) { _ = json.NewEncoder(w).Encode(body) }

const metrics = `kubernetes_build_info{git_version="v1.37.2"} 1
# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_timestamp_seconds 1772334000
`

// proxy serves metrics like kube-proxy.
func proxy(t *testing.T, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	t.Cleanup(s.Close)
	return s.URL + "/metrics"
}

// healthy returns a node without faults, and its API server.
func healthy(t *testing.T) (doctor.Options, *server, *hnstest.HNS) {
	t.Helper()
	api := newServer()
	served := httptest.NewServer(api)
	t.Cleanup(served.Close)
	service := hnstest.New(hnstest.Options{})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge)
	for _, spec := range []hnstest.EndpointSpec{
		{Network: network.ID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
		{Network: network.ID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Flags: hns.FlagRemote},
	} {
		if _, err := service.CreateEndpoint(spec); err != nil {
			t.Fatal(err)
		}
	}
	return doctor.Options{
		Node: "win-1", Namespace: "hnsguard-system", Config: config.Default(), ConfigFile: "/etc/hnsguard/hnsguard.yaml",
		HNS: service, MetricsURL: proxy(t, metrics),
		API:           &rest.Config{Host: served.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}},
		MetricsSecure: true, Timeout: 20 * time.Second, Clock: clock.RealClock{},
	}, api, service
}

func run(t *testing.T, o doctor.Options) map[string]doctor.Result {
	t.Helper()
	report, err := doctor.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]doctor.Result{}
	for _, r := range report.Checks {
		results[r.Check] = r
		if (r.Advice == "") != (r.Status == doctor.Pass || r.Status == doctor.Skip) {
			t.Errorf("invariant 3: %+v", r)
		}
	}
	return results
}

func TestAHealthyNodePassesAllChecks(t *testing.T) {
	g := NewWithT(t)
	o, _, _ := healthy(t)
	results := run(t, o)
	g.Expect(results).To(HaveLen(6))
	for check, found := range map[string]string{
		doctor.CheckConfiguration: "mode enforce (/etc/hnsguard/hnsguard.yaml)",
		doctor.CheckHNS:           "version 0.1, 2 endpoints",
		doctor.CheckNetwork:       `"azure" (L2Bridge, `,
		doctor.CheckKubeProxy:     "v1.37.2 with given-up-leak, loses-load-balancers, builds-on-leaked-locals; last sync 2026-03-01T03:00:00Z",
		doctor.CheckAPI:           "v1.34.2 at http://127.0.0.1:",
		doctor.CheckPermissions:   "all of 17 rights are granted",
	} {
		g.Expect(results[check]).To(And(HaveField("Status", doctor.Pass), HaveField("Found", ContainSubstring(found))))
	}
	g.Expect(results[doctor.CheckNetwork].Found).To(HaveSuffix("with 1 local and 1 remote endpoints"))
}

// errHNS is an unknown error of HNS.
var errHNS = errors.New("0x803b0099")

// Invariant 1.
func TestWhatIsWrong(t *testing.T) {
	type node struct {
		*testing.T
		*doctor.Options
		api *server
		hns *hnstest.HNS
	}
	for name, tc := range map[string]struct {
		change func(node)
		check  string
		status doctor.Status
		found  string
	}{
		"a broken configuration": {
			func(n node) { n.ConfigErr = errors.New("unknown field") }, doctor.CheckConfiguration, doctor.Fail,
			"unknown field",
		},
		"it only observes": {
			func(n node) { n.Config.Mode = config.Observe }, doctor.CheckConfiguration, doctor.Warn, "mode observe",
		},
		"no HNS here": {
			func(n node) { n.HNS, n.HNSErr = nil, hns.ErrUnsupported }, doctor.CheckHNS, doctor.Fail, "has no HNS",
		},
		"HNS is down": {
			func(n node) { n.hns.SetDown(true) }, doctor.CheckHNS, doctor.Fail, "HNS is unavailable",
		},
		"HNS hangs": {
			func(n node) {
				n.Cleanup(n.hns.Hang(hns.OpListEndpointIDs))
				n.Timeout = 3 * time.Second
			}, doctor.CheckHNS, doctor.Fail, "no answer within 3s",
		},
		"HNS does not report its version": {
			func(n node) { n.HNS = mute{n.hns} }, doctor.CheckHNS, doctor.Pass, "of unknown version, 2 endpoints",
		},
		"no network for pods": {
			func(n node) {
				networks, err := n.hns.Networks(n.Context())
				NewWithT(n.T).Expect(err).NotTo(HaveOccurred())
				NewWithT(n.T).Expect(n.hns.DeleteNetwork(networks[0].ID)).To(Succeed())
			}, doctor.CheckNetwork, doctor.Warn, "no pod network",
		},
		"no network of that name": {
			func(n node) { n.Config.Network = "cbr0" }, doctor.CheckNetwork, doctor.Fail, `no network is named "cbr0"`,
		},
		"an endpoint that cannot be read": {
			func(n node) { n.hns.Fail(hns.OpEndpoint, errHNS) }, doctor.CheckNetwork, doctor.Fail, "0x803b0099",
		},
		"kube-proxy with faults": {
			func(n node) { n.MetricsURL = proxy(n.T, strings.ReplaceAll(metrics, "v1.37.2", "v1.32.3")) },
			doctor.CheckKubeProxy, doctor.Warn, "v1.32.3 with stale-record, batch-leak, duplicates, builds-on-leaked-locals; last sync 2026-03-01T03:00:00Z",
		},
		"kube-proxy of an odd version": {
			func(n node) { n.MetricsURL = proxy(n.T, strings.ReplaceAll(metrics, "v1.37.2", "banana")) },
			doctor.CheckKubeProxy, doctor.Warn, "banana cannot be read as a version",
		},
		"kube-proxy does not answer": {
			func(n node) { n.MetricsURL = "http://me:secret@127.0.0.1:1/metrics" }, doctor.CheckKubeProxy, doctor.Warn,
			"version is unknown, and every fault is assumed",
		},
		"kube-proxy does not answer, but is a pod": {
			func(n node) { n.MetricsURL, n.api.proxyImage = "http://127.0.0.1:1/metrics", "x/kube-proxy:v1.32.3" },
			doctor.CheckKubeProxy, doctor.Warn,
			"v1.32.3 with stale-record, batch-leak, duplicates, builds-on-leaked-locals; ",
		},
		"kube-proxy does not answer, but its version is configured": {
			func(n node) { n.MetricsURL, n.KubeProxyVersion = "http://127.0.0.1:1/metrics", "v1.37.2" },
			doctor.CheckKubeProxy, doctor.Warn, "v1.37.2 with given-up-leak, loses-load-balancers, builds-on-leaked-locals; ",
		},
		"another version is configured": {
			func(n node) { n.KubeProxyVersion = "v1.36.3" }, doctor.CheckKubeProxy, doctor.Fail,
			"v1.36.3 is configured, but v1.37.2 serves",
		},
		"kube-proxy has not synced yet": {
			func(n node) { n.MetricsURL = proxy(n.T, strings.ReplaceAll(metrics, " 1772334000", " 0")) },
			doctor.CheckKubeProxy, doctor.Warn, "not finished a sync",
		},
		"kube-proxy does not say when it synced": {
			func(n node) { n.MetricsURL = proxy(n.T, strings.Split(metrics, "#")[0]+"kubeproxy_up 1\n") },
			doctor.CheckKubeProxy, doctor.Warn, "have no kubeproxy_sync",
		},
		"no API server is known": {
			func(n node) { n.API, n.APIErr = nil, errors.New("not a pod") }, doctor.CheckAPI, doctor.Fail, "not a pod",
		},
		"the API server does not answer": {
			func(n node) { n.API.Host = "http://127.0.0.1:1" }, doctor.CheckAPI, doctor.Fail, "reaching the API server at http://127.0.0.1:1: ",
		},
		"the API server hides its version": {
			func(n node) { n.api.secretive = true }, doctor.CheckAPI, doctor.Pass, "hides its version",
		},
		"rights are missing": {
			func(n node) {
				n.api.denies = []string{"list services", "create pods/eviction"}
				n.Config.Eviction.Mode = config.Enforce
			}, doctor.CheckPermissions, doctor.Fail, "missing 2 of 18 rights: list services (for verdicts on overlay networks, and " +
				"load balancers); create pods/eviction (for eviction.mode: enforce)",
		},
		"rights are uncertain": {
			func(n node) { n.api.denies, n.api.unsure = []string{"get nodes"}, "webhook down" },
			doctor.CheckPermissions, doctor.Fail, "get nodes (for the version of kube-proxy; uncertain: webhook down)",
		},
		"its own namespace is unknown": {
			func(n node) { n.Namespace = "" }, doctor.CheckPermissions, doctor.Warn, "are unknown",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			o, api, service := healthy(t)
			tc.change(node{t, &o, api, service})
			results := run(t, o)
			g.Expect(results[tc.check]).To(And(HaveField("Status", tc.status), HaveField("Found", ContainSubstring(tc.found))))
			needy := map[string][]string{
				doctor.CheckHNS: {doctor.CheckNetwork},
				doctor.CheckAPI: {doctor.CheckPermissions},
			}[tc.check]
			for check, r := range results { // invariant 2
				want := doctor.Pass
				if tc.status == doctor.Fail && slices.Contains(needy, check) {
					want = doctor.Skip
				}
				if check != tc.check {
					g.Expect(r.Status).To(Equal(want), "%+v", r)
				}
			}
			g.Expect(results[doctor.CheckKubeProxy].Found).NotTo(ContainSubstring("secret"), "a password is not shown")
		})
	}
}

// mute is an HNS whose version cannot be read.
type mute struct{ hns.Client }

func (mute) Version(context.Context) (string, error) { return "", errors.New("no DLL") }

// A test of the chart checks invariant 4. Here: exactly the listed rights are reviewed.
func TestTheRightsAreAskedFor(t *testing.T) {
	g := NewWithT(t)
	o, api, _ := healthy(t)
	o.Config.Eviction.Mode, o.Config.Reprogram.Mode = config.Enforce, config.Enforce
	run(t, o)
	var want []authorizationv1.ResourceAttributes
	for _, p := range doctor.Permissions(o.Config, o.Namespace, true) {
		want = append(want, authorizationv1.ResourceAttributes{
			Verb: p.Verb, Group: p.Group, Resource: p.Resource, Subresource: p.Subresource, Namespace: p.Namespace, Name: p.Name,
		})
	}
	g.Expect(want).To(HaveLen(18))
	g.Expect(api.asked).To(Equal(want))
}

// Invariant 2.
func TestARunThatIsStoppedReportsNothing(t *testing.T) {
	o, _, _ := healthy(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := doctor.Run(ctx, o)
	NewWithT(t).Expect(err).To(MatchError(context.Canceled))
}

func TestPrint(t *testing.T) {
	g := NewWithT(t)
	missing := "missing"
	for i := range 15 {
		missing += fmt.Sprintf(" right_%02d", i)
	}
	report := doctor.Report{
		Node: "win-1", Version: "v1.2.3", Results: doctor.Results{Failed: 1, Warned: 2, Checks: []doctor.Result{
			{Check: "HNS", Status: doctor.Pass, Found: "version 15.4"},
			{Check: "permissions", Status: doctor.Fail, Found: missing, Advice: "Apply the roles."},
		}},
	}
	var plain strings.Builder
	g.Expect(report.Print(&plain)).To(Succeed())
	g.Expect(plain.String()).To(Equal(`Node win-1, hnsguard v1.2.3

pass  HNS            version 15.4
fail  permissions    missing right_00 right_01 right_02 right_03 right_04
                     right_05 right_06 right_07 right_08 right_09 right_10
                     right_11 right_12 right_13 right_14
                     To do: Apply the roles.

This node cannot be guarded as it is: 1 failed, 2 warned, 0 skipped.
`))
}
