// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/hashicorp/consul/sdk/freeport"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/config"
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

// node is a simulated node with a guard, and a server of its page.
type node struct {
	*nodetest.Node
	t       *testing.T
	guard   *guard.Guard
	history *history.Ring
	board   *report.Board
	// asked is HNS with the metrics that the page shows.
	asked hns.Client

	address string
	stop    context.CancelFunc
	stopped chan struct{}
}

func newNode(t *testing.T, change ...func(*config.Config)) *node {
	t.Helper()
	n := &node{Node: nodetest.New(t, nodetest.Options{KubeProxy: "v1.32.3", Config: change}), t: t}
	n.history = history.NewRing(history.Options{Clock: n.Clock})
	measured := observe.NewMetrics(n.Registry)
	service := observe.WithMetrics(n.Service, measured, n.Clock)
	n.asked = service
	// By default, it only reports.
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

// silence stops the server.
func (n *node) silence() {
	n.stop()
	<-n.stopped
}

func (n *node) url() string { return "http://" + n.address + "/" }

// hostile is a name that would be harmful as HTML.
const hostile = `<img src=x onerror=document.title='owned'>"'&` + "`"

// attack gives a pod and an endpoint slice that name.
func (n *node) attack(addr string) {
	n.Pod(strings.ReplaceAll(hostile, "/", ""), addr)
	n.Local(addr)
	n.history.Add(history.Entry{Act: history.Flush, Result: "failed", Subject: hostile, Detail: hostile})
}
