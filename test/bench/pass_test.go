// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package bench_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// remotes creates remote endpoints like those of kube-proxy.
func remotes(tb testing.TB, service *hnstest.HNS, network hns.NetworkID, addrs ...netip.Addr) []hns.EndpointID {
	tb.Helper()
	var ids []hns.EndpointID
	for _, addr := range addrs {
		made, err := service.CreateEndpoint(hnstest.EndpointSpec{
			Network: network, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
		})
		must(tb, err)
		ids = append(ids, made.ID)
	}
	return ids
}

// BenchmarkCalls counts the calls to HNS in a pass, by the number of endpoints and of new ones. The alternative is to
// list everything, as hcsshim does.
func BenchmarkCalls(b *testing.B) {
	for _, n := range []int{100, 1000, 5000, 20_000} {
		service := hnstest.New(hnstest.Options{})
		network := service.CreateNetwork("azure", hns.NetworkL2Bridge).ID
		var addrs []netip.Addr
		for at := range n {
			addrs = append(addrs, address(at))
		}
		remotes(b, service, network, addrs...)
		b.Run(fmt.Sprintf("way=list-all/endpoints=%d", n), func(b *testing.B) {
			service.ResetCalls()
			for b.Loop() {
				ids, err := service.ListEndpointIDs(b.Context())
				must(b, err)
				for _, id := range ids {
					_, err := service.Endpoint(b.Context(), id)
					must(b, err)
				}
			}
			b.ReportMetric(float64(service.Cost())/float64(b.N), "calls/pass")
		})
		for _, d := range []int{0, 1, 10, 100} {
			b.Run(fmt.Sprintf("way=hnsguard/endpoints=%d/new=%d", n, d), func(b *testing.B) {
				known := inventoryOf(service, testingclock.NewFakePassiveClock(nodetest.Start()))
				_, err := known.Observe(b.Context())
				must(b, err)
				calls := 0
				for b.Loop() {
					b.StopTimer()
					fresh := remotes(b, service, network, addrs[:d]...)
					service.ResetCalls()
					b.StartTimer()
					_, err := known.Observe(b.Context())
					must(b, err)
					b.StopTimer()
					calls += service.Cost()
					for _, id := range fresh {
						must(b, service.DeleteEndpoint(b.Context(), id))
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(calls)/float64(b.N), "calls/pass")
			})
		}
	}
}

func inventoryOf(reader inventory.Reader, clk clock.PassiveClock) *inventory.Inventory {
	return inventory.New(reader, inventory.Options{
		RereadEvery: 5 * time.Minute, NetworksEvery: 5 * time.Second, MaxGap: 20 * time.Second, Clock: clk,
	})
}

// still is an HNS without changes, whose calls cost nothing.
type still struct {
	network   hns.Network
	ids       []hns.EndpointID
	endpoints map[hns.EndpointID]hns.Endpoint
	// calls counts all calls, and reads those that read an endpoint.
	calls, reads int
}

func newStill(addrs []netip.Addr) *still {
	s := &still{network: hns.Network{ID: "n", Name: "azure", Type: hns.NetworkL2Bridge}, endpoints: map[hns.EndpointID]hns.Endpoint{}}
	for at, addr := range addrs {
		id := hns.EndpointID(fmt.Sprintf("00000000-0000-4000-8000-%012d", at))
		s.ids = append(s.ids, id)
		s.endpoints[id] = hns.Endpoint{
			ID: id, Name: "Ethernet", Network: s.network.ID, Addresses: []netip.Addr{addr},
			MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
		}
	}
	return s
}

func (s *still) Networks(context.Context) ([]hns.Network, error) {
	s.calls += 1 + 3
	return []hns.Network{s.network}, nil
}

func (s *still) ListEndpointIDs(context.Context) ([]hns.EndpointID, error) {
	s.calls++
	return slices.Clone(s.ids), nil
}

func (s *still) Endpoint(_ context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	s.calls += 3
	s.reads += 3
	return s.endpoints[id], nil
}

// podsOf adds pods on the node to an index. Most pods of a busy node have addresses, and one waits for its own.
func podsOf(index *cluster.Index) {
	for n := range 60 {
		addr := netip.AddrFrom4([4]byte{172, 16, 0, byte(n)}).String()
		if n == 0 {
			addr = ""
		}
		index.SetPod(nodetest.NewPod(fmt.Sprintf("pod-%d", n), nodetest.Name, addr))
	}
}

type balancers struct{}

func (balancers) Last() ([]hns.LoadBalancer, time.Time, bool) { return nil, time.Time{}, true }

func collectorOf(reader inventory.Reader, index *cluster.Index, clk clock.PassiveClock) *pass.Collector {
	podsOf(index)
	return pass.NewCollector(pass.Options{
		Inventory: inventoryOf(reader, clk), Index: index,
		KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf("v1.37.2") }, Record: nodetest.Remembers(false),
		LoadBalancers: balancers{}, Policy: verdict.Policy{OrphanGrace: 5 * time.Minute, OrphanGraceUrgent: 5 * time.Second},
		FreshlyWaiting: 5 * time.Minute, Clock: clk,
	})
}

// BenchmarkDecide measures the decision on all endpoints of a node in a cluster of a million addresses, and the whole
// pass before any action: the list of IDs, the view, the decision.
func BenchmarkDecide(b *testing.B) {
	index, _ := filled()
	clk := testingclock.NewFakePassiveClock(nodetest.Start())
	collector := collectorOf(newStill(looked()), index, clk)
	e, err := collector.Collect(b.Context())
	must(b, err)
	b.Run(fmt.Sprintf("part=decision/endpoints=%d", endpoints), func(b *testing.B) {
		b.ReportAllocs()
		clock := start(b)
		var verdicts []verdict.Verdict
		for b.Loop() {
			verdicts = verdict.DecideInto(verdicts, e)
		}
		clock.report()
	})
	b.Run(fmt.Sprintf("part=pass/endpoints=%d", endpoints), func(b *testing.B) {
		b.ReportAllocs()
		clock := start(b)
		var verdicts []verdict.Verdict
		for b.Loop() {
			clk.SetTime(clk.Now().Add(5 * time.Second))
			e, err := collector.Collect(b.Context())
			must(b, err)
			verdicts = verdict.DecideInto(verdicts, e)
			collector.Remember(verdicts)
		}
		clock.report()
	})
}

// BenchmarkDeadline measures the overhead of a deadline for a call that HNS answers at once.
func BenchmarkDeadline(b *testing.B) {
	client := hns.WithDeadline(hnstest.New(hnstest.Options{}), hns.DeadlineOptions{
		Call: time.Minute, List: time.Minute, MaxHung: 8, Clock: clock.RealClock{},
	})
	b.ReportAllocs()
	clock := start(b)
	for b.Loop() {
		_, err := client.ListEndpointIDs(b.Context())
		must(b, err)
	}
	clock.report()
}

// BenchmarkReaction measures the time from the creation of a pod's own endpoint in HNS, while the pod still waits for
// its address, until the stale remote endpoint with the address is gone. Each call to HNS takes 0.2 ms. The passes run
// like those of the agent's controller, and load balancers are read alongside them. An address is reused once a second,
// which is the agent's long-term rate of requests to the API server.
func BenchmarkReaction(b *testing.B) {
	n := newReacting(b)
	turn := time.NewTicker(time.Second)
	defer turn.Stop()
	var took []time.Duration
	for b.Loop() {
		<-turn.C
		took = append(took, n.react())
	}
	slices.Sort(took)
	for _, percent := range []int{10, 25, 50, 75, 90, 99} {
		at := took[len(took)*percent/100]
		b.ReportMetric(float64(at.Microseconds())/1000, fmt.Sprintf("p%d-ms", percent))
	}
	b.ReportMetric(0, "ns/op")
}

// reacting is a node with many endpoints and load balancers, and a guard.
type reacting struct {
	*nodetest.Node
	b     *testing.B
	guard *guard.Guard
	gone  chan time.Time
	pods  int
}

// deleter records when endpoints are gone.
type deleter struct {
	removal.Deleter
	gone chan time.Time
}

func (d deleter) DeleteEndpoint(ctx context.Context, id hns.EndpointID) error {
	err := d.Deleter.DeleteEndpoint(ctx, id)
	d.gone <- time.Now()
	return err
}

const (
	callTakes     = 200 * time.Microsecond
	loadBalancers = 2000
)

// exact is a clock that does not round times up to the next tick of the system, which may take four times as long as a
// call to HNS.
type exact struct{ clock.RealClock }

// After implements [clock.Clock].
func (e exact) After(d time.Duration) <-chan time.Time {
	start := e.Now()
	for e.Since(start) < d {
		runtime.Gosched()
	}
	over := make(chan time.Time, 1)
	over <- e.Now()
	return over
}

func newReacting(b *testing.B) *reacting {
	b.Helper()
	n := &reacting{b: b, gone: make(chan time.Time, 10)}
	nodetest.New(b, nodetest.Options{
		Clock: clock.RealClock{}, Deadlines: true, HNS: hnstest.Options{Latency: callTakes, Clock: exact{}}, Boot: n.boot,
	})
	these := looked()
	for at, id := range remotes(b, n.HNS, n.Network.ID, these...) {
		n.Slice(fmt.Sprintf("slice-%d", at), "lin-1", these[at].String())
		if at >= loadBalancers {
			continue
		}
		_, err := n.HNS.CreateLoadBalancer(hns.LoadBalancer{
			Endpoints: []hns.EndpointID{id}, FrontendVIPs: []netip.Addr{netip.AddrFrom4([4]byte{172, 20, byte(at >> 8), byte(at)})},
		})
		must(b, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	read := make(chan error, 1)
	go func() { read <- n.Balancers.Start(ctx) }()
	b.Cleanup(func() {
		stop()
		must(b, <-read)
	})
	n.pass()
	return n
}

// boot creates the guard of a new process, with the actions for a conflict.
func (n *reacting) boot(base *nodetest.Node) []pass.SliceObserver {
	n.Node = base
	meter := history.NewReuseMeter(nodetest.Name, n.Index, nil, n.Registry, n.Clock)
	remover := removal.New(removal.Options{
		Node: nodetest.Name, Config: n.Config, Confirmer: n.Confirmer(), HNS: deleter{n.Service, n.gone},
		Limiter: removal.NewLimiter(n.Config), Freshness: n.Freshness, LoadBalancers: n.Balancers,
		Events: n.Events, Metrics: removal.NewMetrics(n.Registry), Clock: n.Clock, Random: rand.Float64,
	})
	words := report.Words{
		Node: nodetest.Name, Config: n.Config, KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf(n.KubeProxy) },
	}
	n.guard = guard.New(guard.Options{
		Config: n.Config, Collector: n.Collector, Slices: n.Watch,
		Actions: []pass.Action{remover, n.Balancers, meter},
		Victims: eviction.New(eviction.Options{
			After: time.Hour, MaxGap: time.Minute, Describe: words.Pod, Events: n.Events, Metrics: eviction.NewMetrics(n.Registry),
			Clock: n.Clock,
		}),
		Events: n.Events, Metrics: guard.NewMetrics(n.Registry), Clock: n.Clock, Words: words,
		Status: report.NewBoard(report.BoardOptions{Node: nodetest.Name, Config: n.Config, Clock: n.Clock}),
	})
	return []pass.SliceObserver{meter, remover}
}

func (n *reacting) pass() time.Duration {
	result, err := n.guard.Reconcile(n.b.Context(), guard.Request{})
	must(n.b, err)
	return result.RequeueAfter
}

// react plays one reuse of an address: a pod waits, its endpoint appears at a varying moment between two passes, and
// the pod reports its address once the remote endpoint is gone. It returns the time until then.
func (n *reacting) react() time.Duration {
	n.pods++
	addr := netip.AddrFrom4([4]byte{192, 168, byte(n.pods >> 8), byte(n.pods)}).String()
	name := fmt.Sprintf("pod-%d", n.pods)
	n.Remote(addr)
	n.pass()
	n.Pod(name, "") // which makes a pass, and passes come fast from now on
	appeared := make(chan time.Time, 1)
	var local hns.EndpointID
	const moments, stride = 100, 61 // each once in a hundred plays, in no order
	at := n.Config.Poll.FastInterval.Duration * time.Duration(n.pods*stride%moments) / moments
	time.AfterFunc(n.pass()+at, func() {
		local = n.Local(addr)
		appeared <- time.Now()
	})
	for {
		select {
		case gone := <-n.gone:
			took := gone.Sub(<-appeared)
			n.Pod(name, addr)
			n.pass()
			n.PodGone(name) // the node does not get fuller
			n.Delete(local)
			n.pass()
			n.Happened()
			return took
		case <-time.After(n.pass()):
		}
	}
}

// BenchmarkQuiet plays ten minutes on a node without changes, in a cluster whose slices change all the time, and counts
// the calls to HNS. The share of a core is that of this machine.
func BenchmarkQuiet(b *testing.B) {
	index, watch := filled()
	const quiet = 10 * time.Minute
	for b.Loop() {
		clk := testingclock.NewFakePassiveClock(nodetest.Start())
		service := newStill(looked())
		collector := collectorOf(service, index, clk)
		observe := func() {
			e, err := collector.Collect(b.Context())
			must(b, err)
			collector.Remember(verdict.Decide(e))
		}
		observe()
		service.calls, service.reads = 0, 0
		clock := start(b)
		for passed := time.Duration(0); passed < quiet; passed += 5 * time.Second {
			clk.SetTime(clk.Now().Add(5 * time.Second))
			clock.pause()
			changed := slice(b, 1, perSlice, int(passed/time.Second))
			clock.resume()
			must(b, watch.Update(changed))
			observe()
		}
		b.ReportMetric(clock.stop().Seconds()/quiet.Seconds()*100, "%core")
		b.ReportMetric(float64(service.calls-service.reads)/quiet.Seconds(), "polling-calls/s")
		b.ReportMetric(float64(service.reads)/quiet.Seconds(), "rereading-calls/s")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLong counts the calls to HNS on a node without changes, in periods of the agent's life, and their maximum in
// one minute. The days in between are played with fewer polls, and not counted.
func BenchmarkLong(b *testing.B) {
	const day, poll = 24 * time.Hour, 5 * time.Second
	for b.Loop() {
		clk := testingclock.NewFakePassiveClock(nodetest.Start())
		service := newStill(looked())
		known := inventoryOf(service, clk)
		start := clk.Now()
		until := func(age time.Duration) {
			for clk.Now().Before(start.Add(age)) {
				clk.SetTime(clk.Now().Add(poll))
				_, err := known.Observe(b.Context())
				must(b, err)
			}
		}
		until(poll)
		for _, span := range []struct {
			name     string
			from, to time.Duration
		}{
			{"10m", 0, 10 * time.Minute},
			{"1h", 10 * time.Minute, time.Hour},
			{"1d", time.Hour, day},
			{"7d", day, 7 * day},
			{"14d", 7 * day, 14 * day},
		} {
			before, most := service.calls, 0
			for age := span.from; age < span.to; age += time.Minute {
				at := service.calls
				until(age + time.Minute)
				most = max(most, service.calls-at)
			}
			b.ReportMetric(float64(service.calls-before)/(span.to-span.from).Seconds(), span.name+"-calls/s")
			b.ReportMetric(float64(most)/time.Minute.Seconds(), span.name+"-most-calls/s")
		}
	}
	b.ReportMetric(0, "ns/op")
}
