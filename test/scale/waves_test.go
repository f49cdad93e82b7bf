// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package scale_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/test/bigcluster"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

const (
	// fleet is the assumed number of nodes in the cluster, and measured the number of measured clients of each kind.
	fleet, measured = 5000, 4
	// leaked is the number of endpoints that a batch leak leaves on a node, a whole step of them, and pods the number of
	// pods in the cluster.
	leaked, pods = 25, 10_000
	// down is how long the API server is down, and calm how long only slices change.
	down, calm = 20 * time.Second, 30 * time.Second
)

// request is a request of a client.
type request struct {
	path          string
	watch, failed bool
	at            time.Time
}

// member is one client of the API server. Its requests and the received bytes are counted.
type member struct {
	wire
	mu       sync.Mutex
	requests []request
	api      *rest.Config
	// hns is the node's HNS, if the client is an agent.
	hns *hnstest.HNS
}

func newMember(api *rest.Config) *member {
	m := &member{}
	m.api = m.client(api)
	m.api.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.requests = append(m.requests, request{
				path: r.URL.Path, watch: strings.Contains(r.URL.RawQuery, "watch=true"),
				failed: err != nil || resp.StatusCode >= http.StatusBadRequest, at: time.Now(),
			})
			return resp, err
		})
	})
	return m
}

// watching returns the number of paths that a member has begun to watch since.
func (m *member) watching(since time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	paths := map[string]bool{}
	for _, r := range m.requests {
		if r.watch && !r.failed && r.at.After(since) {
			paths[r.path] = true
		}
	}
	return len(paths)
}

// tally is the activity of clients, as a mean per client.
type tally struct{ requests, failed, watches, received float64 }

func tallyOf(members []*member) (mean tally) {
	for _, m := range members {
		m.mu.Lock()
		for _, r := range m.requests {
			switch {
			case r.failed:
				mean.failed++
			case r.watch:
				mean.watches++
				mean.requests++
			default:
				mean.requests++
			}
		}
		m.mu.Unlock()
		mean.received += float64(m.received.Load())
	}
	n := float64(len(members))
	return tally{mean.requests / n, mean.failed / n, mean.watches / n, mean.received / n}
}

func (t tally) since(before tally) tally {
	return tally{
		t.requests - before.requests, t.failed - before.failed, t.watches - before.watches, t.received - before.received,
	}
}

// kind is a kind of client, of which every node has one.
type kind struct {
	name    string
	members []*member
	// watches is the number of watches of one client.
	watches float64
	before  tally
}

// TestWaves measures the requests of a few agents to a real API server when they start, while slices change, and when
// the API server comes back, and those of kube-proxy's informers. The load of a whole cluster is simulated from that.
func TestWaves(t *testing.T) {
	if os.Getenv("HNSGUARD_SCALE") == "" {
		t.Skip("it takes minutes; run make test-scale")
	}
	logf.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	g := NewWithT(t)
	env := &envtest.Environment{ControlPlaneStartTimeout: 3 * time.Minute}
	env.ControlPlane.GetAPIServer().CertDir = t.TempDir() // it outlives a restart
	writer, api := startCluster(t, env)
	for n := range bigcluster.Slices {
		if n%10 == 0 {
			_, err := writer.CoreV1().Services(namespace).Create(t.Context(), service(n/10), metav1.CreateOptions{})
			g.Expect(err).NotTo(HaveOccurred())
		}
	}
	fill(t, writer)
	guards := &kind{name: "hnsguard"}
	proxies := &kind{name: "kube-proxy"}
	for n := range measured {
		name := fmt.Sprintf("win-%d", n)
		_, err := writer.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		guards.members = append(guards.members, guardOf(t, api, name))
		proxies.members = append(proxies.members, proxyOf(t, api, name))
	}
	kinds := []*kind{guards, proxies}
	settle(t, kinds, time.Time{})
	for _, k := range kinds {
		k.before = tallyOf(k.members)
		k.watches = k.before.watches
		k.report("start", k.before)
	}
	changes := change(t, writer)
	for _, k := range kinds {
		k.steady(changes)
	}
	leak(t, writer, guards)
	restart(t, env, kinds)
}

// startCluster starts an API server, and writes the slices.
func startCluster(t *testing.T, env *envtest.Environment) (*kubernetes.Clientset, *rest.Config) {
	t.Helper()
	g := NewWithT(t)
	api, err := env.Start()
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	fast := rest.CopyConfig(api)
	fast.QPS, fast.ContentType = -1, apiruntime.ContentTypeProtobuf
	writer, err := kubernetes.NewForConfig(fast)
	g.Expect(err).NotTo(HaveOccurred())
	started := time.Now()
	inParallel(bigcluster.Slices, func(n int) error {
		_, err := writer.DiscoveryV1().EndpointSlices(namespace).Create(t.Context(), bigcluster.Slice(namespace, n, 0), metav1.CreateOptions{})
		return err
	}, func(err error) { t.Fatal(err) })
	t.Logf("wrote %d slices in %s", bigcluster.Slices, time.Since(started).Round(time.Second))
	return writer, api
}

func service(number int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("service-%d", number)},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
}

// guardOf starts the whole agent of a node with one endpoint.
func guardOf(t *testing.T, api *rest.Config, name string) *member {
	t.Helper()
	g := NewWithT(t)
	m := newMember(api)
	service := hnstest.New(hnstest.Options{})
	n := &node{t: t, service: service, network: service.CreateNetwork("azure", hns.NetworkL2Bridge).ID}
	n.remote(bigcluster.Address(1))
	for at := range leaked {
		n.remote(leakedAddress(at))
	}
	c := config.Default()
	c.Orphan.GracePeriod.Duration = leakGrace
	options := agent.Options{
		Node: name, Namespace: namespace, Config: c, HNS: service,
		KubeProxy: detect.Options{Version: "v1.37.2"}, MetricsAddress: "0", ProbeAddress: "0",
		Logger: logr.Discard(), Clock: clock.RealClock{},
	}
	deps, err := agent.FromCluster(m.api, options)
	g.Expect(err).NotTo(HaveOccurred())
	n.agent, err = agent.New(options, deps)
	g.Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.agent.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		g.Expect(<-ended).To(Succeed())
	})
	g.Eventually(n.inUse, time.Minute, 10*time.Millisecond).Should(BeEquivalentTo(1 + leaked))
	m.hns = service
	return m
}

// proxyOf starts the informers of kube-proxy 1.37 like its server: of Services, of EndpointSlices, and of the node.
func proxyOf(t *testing.T, api *rest.Config, name string) *member {
	t.Helper()
	g := NewWithT(t)
	m := newMember(api)
	m.api.ContentType, m.api.AcceptContentTypes = apiruntime.ContentTypeProtobuf, apiruntime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(m.api)
	g.Expect(err).NotTo(HaveOccurred())
	only := func(tweak func(*metav1.ListOptions)) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(tweak))
	}
	const unlabelled = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"
	services := only(func(o *metav1.ListOptions) {
		o.LabelSelector = "!service.kubernetes.io/service-proxy-name"
		o.FieldSelector = fields.OneTermNotEqualSelector("spec.clusterIP", corev1.ClusterIPNone).String()
	})
	services.Core().V1().Services().Informer()
	endpointSlices := only(func(o *metav1.ListOptions) { o.LabelSelector = unlabelled })
	endpointSlices.Discovery().V1().EndpointSlices().Informer()
	nodes := only(func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + name })
	nodes.Core().V1().Nodes().Informer()
	ctx, stop := context.WithCancel(context.Background())
	for _, f := range []informers.SharedInformerFactory{services, endpointSlices, nodes} {
		f.StartWithContext(ctx)
		f.WaitForCacheSync(ctx.Done())
		t.Cleanup(f.Shutdown)
	}
	t.Cleanup(stop)
	return m
}

// settle waits until every client has renewed all its watches since some time, and has sent no request for a while.
func settle(t *testing.T, kinds []*kind, since time.Time) {
	t.Helper()
	before := make([]tally, len(kinds))
	quiet := 0
	NewWithT(t).Eventually(func() int {
		quiet++
		for at, k := range kinds {
			now := tallyOf(k.members)
			now.received = 0 // bookmarks come all the time
			if now != before[at] || slices.ContainsFunc(k.members, func(m *member) bool {
				return m.watching(since) < int(k.watches)
			}) {
				quiet = 0
			}
			before[at] = now
		}
		return quiet
	}, 3*time.Minute, time.Second).Should(BeNumerically(">=", 5))
}

// change changes a slice every second for some time, and returns the number of changes.
func change(t *testing.T, writer *kubernetes.Clientset) (changes int) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < calm; changes++ {
		<-tick.C
		_, err := writer.DiscoveryV1().EndpointSlices(namespace).Update(t.Context(), bigcluster.Slice(namespace, changes, 1), metav1.UpdateOptions{})
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
	}
	return changes
}

// leakGrace is the shortest possible grace period. The times of a fleet are those of the default one.
const leakGrace = 10 * time.Second

// leakedAddress returns an address that only one slice of the cluster has.
func leakedAddress(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 0, byte(n + 1)}) }

// leakedSlice lists some of the addresses that leak.
func leakedSlice(count int) *discoveryv1.EndpointSlice {
	s := bigcluster.Slice(namespace, 0, 0)
	s.Name, s.Labels[discoveryv1.LabelServiceName] = "leaked", "leaked"
	s.Endpoints = s.Endpoints[:count]
	for n := range s.Endpoints {
		s.Endpoints[n].Addresses = []string{leakedAddress(n).String()}
	}
	return s
}

// fill writes pods with addresses, and the slice with the leaked addresses.
func fill(t *testing.T, writer *kubernetes.Clientset) {
	t.Helper()
	g := NewWithT(t)
	_, err := writer.DiscoveryV1().EndpointSlices(namespace).Create(t.Context(), leakedSlice(leaked), metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	inParallel(pods, func(n int) error {
		made, err := writer.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", n), Labels: map[string]string{"app": "service"}},
			Spec: corev1.PodSpec{
				NodeName: fmt.Sprintf("lin-%d", n%500), Containers: []corev1.Container{{Name: "app", Image: "example.com/app:1.0"}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		addr := bigcluster.Address(n).String()
		made.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: addr, PodIPs: []corev1.PodIP{{IP: addr}}}
		_, err = writer.CoreV1().Pods(namespace).UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
		return err
	}, func(err error) { t.Fatal(err) })
}

// leak makes a slice drop the addresses of leaked endpoints, and measures the agents' requests until these are removed.
// When the agents of a fleet act is simulated: each at a random time of its grace period.
func leak(t *testing.T, writer *kubernetes.Clientset, guards *kind) {
	t.Helper()
	g := NewWithT(t)
	before := tallyOf(guards.members)
	_, err := writer.DiscoveryV1().EndpointSlices(namespace).Update(t.Context(), leakedSlice(0), metav1.UpdateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	for _, m := range guards.members {
		g.Eventually(func() int { return len(m.hns.State().Endpoints) }, 5*time.Minute, time.Second).Should(Equal(1))
	}
	now := tallyOf(guards.members).since(before)
	guards.report("leak", now)
	grace := config.Default().Orphan.GracePeriod.Seconds()
	for _, agents := range []int{fleet / 10, fleet} {
		times := make([]float64, agents)
		for at := range times {
			times[at] = grace * rand.Float64()
		}
		perSecond := histogram(times, now.requests)
		report(fmt.Sprintf("waves/wave=leak/client=hnsguard/clients=%d", agents),
			most(perSecond, 1), "most-requests/s", most(perSecond, 60), "most-requests/min")
	}
}

// restart stops the API server for some time, and measures its clients' requests until everything is as before.
func restart(t *testing.T, env *envtest.Environment, kinds []*kind) {
	t.Helper()
	g := NewWithT(t)
	for _, k := range kinds {
		k.before = tallyOf(k.members)
	}
	server := env.ControlPlane.GetAPIServer()
	stopped := time.Now()
	crash(t)
	time.Sleep(down)
	g.Expect(server.Start()).To(Succeed())
	back := time.Since(stopped)
	settle(t, kinds, stopped)
	for _, k := range kinds {
		now := tallyOf(k.members).since(k.before)
		k.report("restart", now)
		perSecond, refused := returning(back, k.watches, now.requests)
		report(fmt.Sprintf("waves/wave=restart/client=%s/clients=%d", k.name, fleet),
			most(perSecond, 1), "most-requests/s", most(perSecond, 60), "most-requests/min",
			refused/fleet, "simulated-refused/client", back.Seconds(), "down-s")
	}
}

// crash kills the API server. A graceful stop would wait for its clients.
func crash(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	found, err := exec.CommandContext(t.Context(), "pgrep", "--parent", strconv.Itoa(os.Getpid()), "kube-apiserver").Output()
	g.Expect(err).NotTo(HaveOccurred(), "the API server is not running")
	server, err := strconv.Atoi(strings.TrimSpace(string(found)))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(syscall.Kill(server, syscall.SIGKILL)).To(Succeed())
}

func (k *kind) report(wave string, t tally) {
	report(fmt.Sprintf("waves/wave=%s/client=%s", wave, k.name), t.requests, "requests/client", t.failed, "refused/client",
		t.received, "wire-B/client", k.watches, "watches/client", float64(len(k.members)), "clients")
}

// steady reports the requests of a client while slices change, and how often all clients renew their watches, each at
// its own random time. Renewals are simulated, because they come once in minutes.
func (k *kind) steady(changes int) {
	now := tallyOf(k.members).since(k.before)
	var renewals []float64
	for range int(fleet * k.watches) {
		for at := rand.Float64() * 600; at < 3600; at += 300 + 300*rand.Float64() {
			renewals = append(renewals, at)
		}
	}
	perSecond := histogram(renewals, 1)
	report(fmt.Sprintf("waves/wave=steady/client=%s/clients=%d", k.name, fleet),
		float64(len(renewals))/60+now.requests/calm.Minutes()*fleet, "requests/min",
		most(perSecond, 1), "most-requests/s", now.received/float64(changes), "wire-B/change",
		now.requests, "requests/client")
}

// returning simulates when all clients of a kind come back to an API server that was down: each watch separately, with
// the waits between attempts of client-go's reflectors. Each causes the requests that were measured for a real client.
func returning(down time.Duration, watches, requests float64) (perSecond []float64, refused float64) {
	var times []float64
	for range int(fleet * watches) {
		backoff := wait.Backoff{Duration: 800 * time.Millisecond, Cap: 30 * time.Second, Steps: 38, Factor: 2, Jitter: 1}
		at := time.Duration(0)
		for ; at < down; at += backoff.Step() {
			refused++
		}
		times = append(times, (at - down).Seconds())
	}
	return histogram(times, requests/watches), refused
}

// histogram counts events per second, with a weight.
func histogram(times []float64, weight float64) []float64 {
	perSecond := make([]float64, int(slices.Max(times))+1)
	for _, at := range times {
		perSecond[int(at)] += weight
	}
	return perSecond
}

// most returns the largest sum of so many consecutive values.
func most(perSecond []float64, seconds int) (most float64) {
	for from := range perSecond {
		sum := 0.0
		for _, n := range perSecond[from:min(from+seconds, len(perSecond))] {
			sum += n
		}
		most = max(most, sum)
	}
	return most
}
