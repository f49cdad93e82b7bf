// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package monitoring_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/sdk/freeport"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/test/chart"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// cluster is a control plane with the chart's objects.
type cluster struct {
	config *rest.Config
	client client.Client
}

// startCluster starts a control plane that stops when the test ends. It creates the chart's objects, except for those
// whose controllers do not exist here: the DaemonSet's pods, and Prometheus' operator.
func startCluster(t *testing.T, objects chart.Objects) *cluster {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("$KUBEBUILDER_ASSETS does not say where kube-apiserver and etcd are; run: make test-monitoring")
	}
	env := &envtest.Environment{}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cl := &cluster{config: config, client: c}
	cl.create(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: scraperHome}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: scraperHome, Name: scraper}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: scraperHome, Name: "stranger"}},
	)
	cl.letReadEverything(t, "curious")
	for _, o := range objects {
		switch o.GetKind() {
		case "DaemonSet", "PrometheusRule", "ServiceMonitor", "PodMonitor":
		default:
			cl.create(t, o)
		}
	}
	return cl
}

func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.client.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
		}
	}
}

// letReadEverything creates an account that may read every path, so that a missing metric is one that is not served.
func (c *cluster) letReadEverything(t *testing.T, name string) {
	t.Helper()
	c.create(t,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: scraperHome, Name: name}},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"*"}, Verbs: []string{"get"}}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: scraperHome, Name: name}},
		})
}

// token creates a token for an account.
func (c *cluster) token(t *testing.T, namespace, name string) string {
	t.Helper()
	return c.tokenFor(t, namespace, name, nil)
}

func (c *cluster) tokenFor(t *testing.T, namespace, name string, bound *authenticationv1.BoundObjectReference) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}}
	owner := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := c.client.SubResource("token").Create(t.Context(), owner, request); err != nil {
		t.Fatalf("making a token of %s/%s: %v", namespace, name, err)
	}
	return request.Status.Token
}

// agentConfig returns the configuration of a pod of the chart's DaemonSet for the API server: with a token that is
// bound to it.
func (c *cluster) agentConfig(t *testing.T) *rest.Config {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "hnsguard-x1"},
		Spec: corev1.PodSpec{
			NodeName: nodeName, ServiceAccountName: account,
			Containers: []corev1.Container{{Name: "hnsguard", Image: "nowhere.invalid/hnsguard"}},
		},
	}
	c.create(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}, pod)
	return &rest.Config{
		Host: c.config.Host,
		BearerToken: c.tokenFor(t, namespace, account, &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		}),
		TLSClientConfig: rest.TLSClientConfig{CAData: c.config.CAData},
	}
}

// startAgent starts an agent on a node where a pod reuses an address while a slice still lists it; later the slice
// drops it. It returns the address of the metrics, and the certificate authority.
func (c *cluster) startAgent(t *testing.T) (address, authority string) {
	t.Helper()
	g := NewWithT(t)
	service := hnstest.New(hnstest.Options{})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge)
	remote := func(addr netip.Addr) {
		_, err := service.CreateEndpoint(hnstest.EndpointSpec{
			Network: network.ID, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
		})
		g.Expect(err).NotTo(HaveOccurred())
	}
	reused, used := netip.MustParseAddr("10.42.1.1"), netip.MustParseAddr("10.42.1.2")
	remote(reused)
	remote(used)
	slice := c.slice(t, reused, used)

	folder, authority := certificate(t)
	served, err := server.FromFolder(folder)
	g.Expect(err).NotTo(HaveOccurred())
	address = freeAddress(t)
	policy := config.Default()
	policy.Poll.SlowInterval.Duration = time.Second

	options := agent.Options{
		Node: nodeName, Namespace: namespace, Config: policy, HNS: service,
		KubeProxy: detect.Options{Version: "v1.32.3"}, MetricsAddress: address, MetricsTLS: served, ProbeAddress: "0",
		Logger: logf.Log, Clock: clock.RealClock{},
	}
	deps, err := agent.FromCluster(c.agentConfig(t), options)
	g.Expect(err).NotTo(HaveOccurred())
	a, err := agent.New(options, deps)
	g.Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(context.Background()) // it ends before the control plane does
	follower := nodetest.Follower{Server: c.client, Namespace: namespace, HNS: service, Network: network.ID}
	ended := make(chan error, 2)
	go func() { ended <- a.Start(ctx) }()
	go func() { ended <- follower.Run(ctx, time.Tick(200*time.Millisecond)) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	complete := func(metric string) func() float64 { return func() float64 { return sumOf(a, metric) } }
	g.Eventually(complete("hnsguard_passes_total"), 20*time.Second).Should(BeNumerically(">", 0), "the agent starts")

	local, err := service.CreateEndpoint(hnstest.EndpointSpec{Network: network.ID, Addresses: []netip.Addr{reused}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(service.Attach(local.ID, service.CreateNamespace())).To(Succeed())
	c.pod(t, reused)
	g.Eventually(complete("hnsguard_address_reuse_seconds"), 20*time.Second).Should(BeEquivalentTo(1))
	g.Eventually(complete("hnsguard_keep_slices"), time.Minute).Should(BeEquivalentTo(1), "once the policies are in force")
	slice.Endpoints = slice.Endpoints[1:]
	g.Expect(c.client.Update(t.Context(), slice)).To(Succeed())
	// In a cluster without changes the watch is proved current about once a minute.
	g.Eventually(complete("hnsguard_removals_total"), 3*time.Minute).Should(BeEquivalentTo(1))
	return address, authority
}

// slice lists addresses on another node.
func (c *cluster) slice(t *testing.T, addrs ...netip.Addr) *discoveryv1.EndpointSlice {
	t.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: "svc", Labels: map[string]string{discoveryv1.LabelServiceName: "svc"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, addr := range addrs {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{addr.String()}, NodeName: new("lin-1"),
		})
	}
	c.create(t, slice)
	return slice
}

// pod creates a running pod on the agent's node.
func (c *cluster) pod(t *testing.T, addr netip.Addr) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "web"},
		Spec: corev1.PodSpec{
			NodeName: nodeName, Containers: []corev1.Container{{Name: "c", Image: "nowhere.invalid/c"}},
		},
	}
	c.create(t, pod)
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: addr.String(), PodIPs: []corev1.PodIP{{IP: addr.String()}},
	}
	if err := c.client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

// sumOf returns the sum of the values of a metric, or of the counts of a histogram.
func sumOf(a *agent.Agent, metric string) float64 {
	families, err := a.Metrics().Gather()
	if err != nil {
		return -1
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != metric {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// certificate creates a folder like a mounted Secret, and its certificate authority.
func certificate(t *testing.T) (folder, authority string) {
	t.Helper()
	folder = t.TempDir()
	certPEM, keyPEM, err := certutil.GenerateSelfSignedCertKey(nodeName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder, string(certPEM) // the authority's own certificate comes second
}

// otherAuthority returns a certificate authority that has signed no certificate here.
func otherAuthority(t *testing.T) string {
	t.Helper()
	_, authority := certificate(t)
	return authority
}

// freeAddress returns an address with a port that the system gives to no connection.
func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freeport.GetOne(t))
}
