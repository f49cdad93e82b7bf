// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package scale_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/test/bench/usage"
	"github.com/hnsguard/hnsguard/test/bigcluster"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// The cluster, and the node.
const (
	endpoints = 5000
	writers   = 16
	namespace = metav1.NamespaceDefault
)

// wire counts the bytes that a client receives, as sent and as decoded.
type wire struct{ received, decoded atomic.Int64 }

type countedBody struct {
	io.ReadCloser
	wire *wire
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.wire.decoded.Add(int64(n))
	return n, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type countedConn struct {
	net.Conn
	wire *wire
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.received.Add(int64(n))
	return n, err
}

// client returns the configuration of a client whose bytes are counted.
func (w *wire) client(from *rest.Config) *rest.Config {
	c := rest.CopyConfig(from)
	c.QPS = -1
	c.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil {
				resp.Body = countedBody{resp.Body, w}
			}
			return resp, err
		})
	})
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return countedConn{conn, w}, err
	}
	return c
}

// report prints a line like those of Go's benchmarks.
func report(name string, values ...any) {
	line := strings.Builder{}
	fmt.Fprintf(&line, "BenchmarkScale/%s 1", name)
	for at := 0; at < len(values); at += 2 {
		fmt.Fprintf(&line, "\t%.6g %s", values[at], values[at+1])
	}
	fmt.Println(line.String())
}

func TestScale(t *testing.T) {
	if os.Getenv("HNSGUARD_SCALE") == "" {
		t.Skip("it takes minutes; run make test-scale")
	}
	logf.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	writer, api := startCluster(t, &envtest.Environment{ControlPlaneStartTimeout: 3 * time.Minute})
	for _, way := range []struct {
		name, contentType string
		noWatchList       bool
	}{
		{"way=informer/encoding=json/list=stream", apiruntime.ContentTypeJSON, false},
		{"way=informer/encoding=json/list=list", apiruntime.ContentTypeJSON, true},
		{"way=informer/encoding=protobuf/list=stream", apiruntime.ContentTypeProtobuf, false},
	} {
		informerOf(t, api, way.name, way.contentType, way.noWatchList)
	}
	n := startAgent(t, api)
	n.churn(writer)
	n.replay(writer)
}

// inParallel runs a function so many times, by several writers.
func inParallel(times int, do func(n int) error, failed func(error)) {
	next := atomic.Int64{}
	var all sync.WaitGroup
	errs := make(chan error, writers)
	for range writers {
		all.Go(func() {
			for n := int(next.Add(1)) - 1; n < times; n = int(next.Add(1)) - 1 {
				if err := do(n); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		failed(err)
	default:
	}
}

// semantics tells client-go whether the server streams lists.
type semantics bool

func (unsupported semantics) IsWatchListSemanticsUnSupported() bool { return bool(unsupported) }

// informerOf measures an informer of all slices, as in client-go and as controller-runtime uses it.
func informerOf(t *testing.T, api *rest.Config, name, contentType string, noWatchList bool) {
	t.Helper()
	g := NewWithT(t)
	w := &wire{}
	conf := w.client(api)
	conf.ContentType, conf.AcceptContentTypes = contentType, contentType
	client, err := kubernetes.NewForConfig(conf)
	g.Expect(err).NotTo(HaveOccurred())
	before, started := usage.Heap(), time.Now()
	all := client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	lw := toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (apiruntime.Object, error) {
			return all.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return all.Watch(ctx, o)
		},
	}, semantics(noWatchList))
	informer := toolscache.NewSharedIndexInformer(lw, &discoveryv1.EndpointSlice{}, 0, toolscache.Indexers{
		toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc,
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	g.Expect(toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced)).To(BeTrue())
	took := time.Since(started)
	report(name, float64(w.received.Load())/bigcluster.Addresses, "wire-B/address",
		float64(w.decoded.Load())/bigcluster.Addresses, "decoded-B/address",
		(usage.Heap()-before)/bigcluster.Addresses, "heap-B/address", took.Seconds(), "sync-s")
	runtime.KeepAlive(informer)
	stop()
	running.Wait()
}

// node is a node with an agent.
type node struct {
	t       *testing.T
	agent   *agent.Agent
	service *hnstest.HNS
	network hns.NetworkID
	stream  *stream
	before  float64
}

// startAgent starts the whole agent on a node with thousands of endpoints, and measures it.
func startAgent(t *testing.T, api *rest.Config) *node {
	t.Helper()
	g := NewWithT(t)
	n := &node{t: t, service: hnstest.New(hnstest.Options{}), stream: &stream{}}
	n.network = n.service.CreateNetwork("azure", hns.NetworkL2Bridge).ID
	for at := range endpoints {
		n.remote(bigcluster.Address(at * (bigcluster.Addresses / endpoints)))
	}
	w := &wire{}
	options := agent.Options{
		Node: "win-1", Namespace: namespace, Config: config.Default(), HNS: n.service,
		KubeProxy: detect.Options{Version: "v1.37.2"}, MetricsAddress: "0", ProbeAddress: "0",
		Logger: logr.Discard(), Clock: clock.RealClock{},
	}
	n.before = usage.Heap()
	started := time.Now()
	deps, err := agent.FromCluster(n.stream.client(w.client(api)), options)
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
	g.Eventually(n.inUse, time.Minute, time.Millisecond).Should(BeEquivalentTo(endpoints))
	took := time.Since(started)
	report("way=hnsguard", float64(w.received.Load())/bigcluster.Addresses, "wire-B/address",
		float64(w.decoded.Load())/bigcluster.Addresses, "decoded-B/address",
		(usage.Heap()-n.before)/bigcluster.Addresses, "heap-B/address", took.Seconds(), "sync-s")
	return n
}

func (n *node) remote(addr netip.Addr) {
	n.t.Helper()
	_, err := n.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: n.network, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// inUse returns the number of endpoints that the agent knows to be in use, from slices.
func (n *node) inUse() float64 {
	families, err := n.agent.Metrics().Gather()
	if err != nil {
		return -1
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "hnsguard_endpoints" && m.GetLabel()[0].GetValue() == "in_use" {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}
