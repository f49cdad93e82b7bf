// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/hashicorp/consul/sdk/freeport"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// node is a simulated node with a guard, whose page is served.
type node struct {
	*nodetest.Node
	t       *testing.T
	guard   *guard.Guard
	history *history.Ring
	board   *report.Board
	// asked is HNS with the measurements that the page shows.
	asked hns.Client

	address string
	stop    context.CancelFunc
	stopped chan struct{}
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{Node: nodetest.New(t, nodetest.Options{KubeProxy: "v1.32.3"}), t: t}
	n.history = history.NewRing(history.Options{Clock: n.Clock})
	measured := observe.NewMetrics(n.Registry)
	service := observe.WithMetrics(n.Service, measured, n.Clock)
	n.asked = service
	// As by default, it only reports.
	words := report.Words{
		Node: nodetest.Name, Config: n.Config, KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf(n.KubeProxy) },
	}
	evictor := eviction.New(eviction.Options{
		Describe: words.Pod,
		After:    n.Config.Eviction.After.Duration, MaxGap: time.Hour, Interval: n.Config.Pace.EvictionInterval,
		Events: n.Events, History: n.history, Metrics: eviction.NewMetrics(n.Registry), Clock: n.Clock,
	})
	n.board = report.NewBoard(report.BoardOptions{
		Node: nodetest.Name, Config: n.Config, History: n.history, Victims: evictor.Lacking, Clock: n.Clock,
		KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf(n.KubeProxy) },
		HNS:       func() report.HNS { return report.HNS{Health: measured.Health()} },
	})
	remover := removal.New(removal.Options{
		Node: nodetest.Name, Config: n.Config, Confirmer: n.Confirmer(), HNS: service,
		Limiter: removal.NewLimiter(n.Config), Freshness: n.Freshness, LoadBalancers: n.Balancers, Events: n.Events,
		History: n.history, Metrics: removal.NewMetrics(n.Registry), Clock: n.Clock, Random: rand.Float64,
	})
	n.guard = guard.New(guard.Options{
		Config: n.Config, Collector: n.Collector, Slices: n.Watch,
		Actions: []pass.Action{remover, n.Balancers}, Victims: evictor, Events: n.Events, History: n.history, Status: n.board,
		Metrics: guard.NewMetrics(n.Registry), Clock: n.Clock, Words: words,
	})
	return n
}

func (n *node) pass() {
	n.t.Helper()
	_, _ = n.asked.ListEndpointIDs(n.t.Context()) // as the inventory does, which here is not measured
	ctx := logf.IntoContext(n.t.Context(), logr.Discard())
	if _, err := n.guard.Reconcile(ctx, guard.Request{}); err != nil {
		n.t.Fatal(err)
	}
	n.ReadBalancers()
}

// serve serves the page, on the same port each time.
func (n *node) serve() {
	n.t.Helper()
	if n.address == "" {
		n.address = fmt.Sprintf("127.0.0.1:%d", freeport.GetOne(n.t))
	}
	served, err := server.NewPage(server.Options{
		Address: n.address, Logger: logr.Discard(), Clock: clock.RealClock{},
	}, n.board, n.Registry)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.stopped = cancel, make(chan struct{})
	go func() {
		defer close(n.stopped)
		served.Run(ctx)
	}()
	n.t.Cleanup(n.silence)
	for range 500 {
		if c, err := net.DialTimeout("tcp", n.address, time.Second); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Fatal("the page is not served")
}

// silence ends the server.
func (n *node) silence() {
	n.stop()
	<-n.stopped
}

func (n *node) url() string { return "http://" + n.address + "/" }

// The addresses of the story.
const (
	removed   = "10.240.0.21"
	heldBack  = "10.240.0.17"
	leaked    = "10.240.0.44"
	contested = "10.240.0.31"
	left      = "10.240.2.99"
)

// tell lets a morning go by on a busy node: backends elsewhere, pods here, an outage of HNS, and what hnsguard is for.
func (n *node) tell() {
	var listed []string
	for i := range 18 {
		addr := fmt.Sprintf("10.240.2.%d", 10+i)
		n.Remote(addr)
		listed = append(listed, addr)
	}
	n.Slice("checkout-x7k2p", "lin-1", listed[:9]...)
	n.Slice("search-b94vq", "lin-2", listed[9:]...)
	for i, name := range []string{"billing-0", "billing-1", "reports-6d5f9-2xkqz", "sign-on-7bc8d-hj4wm"} {
		addr := fmt.Sprintf("10.240.0.%d", 10+i)
		n.Local(addr)
		n.Pod(name, addr)
	}
	n.pass()
	n.Wait(20 * time.Minute)
	n.outage()
	n.Wait(2 * time.Minute)

	n.reuse("cart-0", removed, 4*time.Second)
	n.Forget()
	n.pass()
	n.Wait(time.Second)
	n.pass()
	n.flush("IPv4")
	n.Wait(7 * time.Minute)

	n.victim("reports-6d5f9-9ttl2", "10.240.0.15")
	n.Wait(90 * time.Second)

	n.Remote(leaked)
	n.Endpoint(leaked, 0)
	n.Slice("ledger-m3xw8", "lin-2", leaked)
	n.Conflict("sign-on-7bc8d-p0c4f", contested)
	n.Pod("sign-on-7bc8d-p0c4f", contested, nodetest.Deleting)
	n.Remote(left)
	n.pass()
	n.Wait(40 * time.Second)

	n.reuse("cart-1", heldBack, 0)
	n.Slice("wishlist-c8r2t", "lin-1", heldBack)
	n.pass()
	n.Wait(5 * time.Second)
	n.pass()
}

func (n *node) outage() {
	n.HNS.Fail(hns.OpListEndpointIDs, fmt.Errorf("listing endpoints: %w", hns.ErrTimeout))
	for range 6 {
		n.pass()
		n.Wait(5 * time.Second)
	}
	n.HNS.Heal()
	n.pass()
}

// reuse gives a pod the address of a remote endpoint. The entry is that of the meter of reuse, which is not here.
func (n *node) reuse(pod, addr string, after time.Duration) {
	n.Conflict(pod, addr)
	result := history.Dropped
	if after == 0 {
		result = history.Listed
	}
	n.history.Add(history.Entry{
		Act: history.Reuse, Result: result, Address: netip.MustParseAddr(addr), Pods: []string{"default/" + pod},
	}.Took(after))
}

// flush and victim add entries that come from actions that are not here.
func (n *node) flush(family string) {
	n.history.Add(history.Entry{Act: history.Flush, Result: "written", Subject: family})
}

func (n *node) victim(pod, addr string) {
	n.history.Add(history.Entry{
		Act: history.Victim, Address: netip.MustParseAddr(addr), Pods: []string{"default/" + pod},
	})
}

// hostile is a name that would do harm as HTML.
const hostile = `<img src=x onerror=document.title='owned'>"'&` + "`"

// attack gives a pod and an endpoint slice that name.
func (n *node) attack(addr string) {
	n.Pod(strings.ReplaceAll(hostile, "/", ""), addr)
	n.Local(addr)
	n.history.Add(history.Entry{Act: history.Flush, Result: "failed", Subject: hostile, Detail: hostile})
}
