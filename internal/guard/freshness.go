// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Watch is what is asked of an informer: up to which resource version it has seen everything.
type Watch interface {
	LastSyncResourceVersion() string
}

// watchFreshness compares the watch with the API server: it asks the server for its present resource version, with a
// list of one object, and waits, over as many passes as it takes, for the watch to reach it. The server sends
// bookmarks about once a minute where nothing else happens, so that it takes no longer.
type watchFreshness struct {
	server client.Reader // not a cache
	watch  func(context.Context) (Watch, error)
	clock  clock.PassiveClock

	target  string
	reached time.Time
}

// freshFor is how long the proof counts: for the pass that it was made in, and those that finish its work.
const freshFor = 10 * time.Second

// NewFreshness makes a [Freshness] of a reader that asks the API server itself and of the watch of EndpointSlices.
func NewFreshness(server client.Reader, watch func(context.Context) (Watch, error), clk clock.PassiveClock) Freshness {
	return &watchFreshness{server: server, watch: watch, clock: clk}
}

func (f *watchFreshness) CaughtUp(ctx context.Context) (bool, error) {
	if !f.reached.IsZero() && f.clock.Since(f.reached) < freshFor {
		return true, nil
	}
	if f.target == "" {
		target, err := f.serverVersion(ctx)
		if err != nil {
			return false, err
		}
		f.target = target
	}
	watch, err := f.watch(ctx)
	if err != nil {
		return false, fmt.Errorf("getting the watch of EndpointSlices: %w", err)
	}
	order, err := resourceversion.CompareResourceVersion(watch.LastSyncResourceVersion(), f.target)
	if err != nil {
		return false, fmt.Errorf("comparing resource versions: %w", err)
	}
	if order < 0 {
		return false, nil
	}
	f.target, f.reached = "", f.clock.Now()
	return true, nil
}

// pageSize is how many EndpointSlices are read in one answer.
const pageSize = 500

// Listed implements [Freshness].
func (f *watchFreshness) Listed(ctx context.Context) (sets.Set[netip.Addr], error) {
	index, proceed := sets.New[netip.Addr](), ""
	for {
		var list discoveryv1.EndpointSliceList
		if err := f.server.List(ctx, &list, client.Limit(pageSize), client.Continue(proceed)); err != nil {
			return nil, fmt.Errorf("reading all EndpointSlices from the API server: %w", err)
		}
		for i := range list.Items {
			index.Insert(cluster.AddressesOf(list.Items[i].Endpoints)...)
		}
		if proceed = list.Continue; proceed == "" {
			return index, nil
		}
	}
}

func (f *watchFreshness) serverVersion(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	var list discoveryv1.EndpointSliceList
	if err := f.server.List(ctx, &list, client.Limit(1)); err != nil {
		return "", fmt.Errorf("asking the API server for its resource version: %w", err)
	}
	return list.ResourceVersion, nil
}
