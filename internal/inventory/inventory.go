// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Reader makes the calls to HNS that the inventory needs.
type Reader interface {
	Networks(ctx context.Context) ([]hns.Network, error)
	ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error)
	Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error)
}

// Options configure an inventory. All fields but Network are required.
type Options struct {
	// Network is the name of the pod network, a pattern for it, or its ID. If empty, the network is chosen: see
	// [PodNetwork].
	Network string
	// RereadEvery is the interval at which local endpoints are read again, a few with each snapshot, and at which networks
	// are listed again if nothing requires it sooner. Remote endpoints that are not new are read again only after days.
	RereadEvery time.Duration
	// NetworksEvery is the interval at which networks are listed again while the pod network is undetermined.
	NetworksEvery time.Duration
	// MaxGap is the maximum time between two snapshots for an endpoint that is new in the later one to count as appeared.
	MaxGap time.Duration
	Clock  clock.PassiveClock
}

// Inventory remembers what it has read from HNS. It is not safe for concurrent use.
type Inventory struct {
	reader Reader
	opts   Options

	known    map[hns.EndpointID]entry
	networks []hns.Network
	listed   time.Time // when the networks were; zero to list them again
	// chosen is the pod network, once found.
	chosen hns.NetworkID
	// last is the previous snapshot, unless something has failed since.
	last *verdict.Snapshot
	// started is set once there has been a snapshot.
	started bool

	// order is the IDs in the order of endpoints, as last listed. It is nil if known has changed since.
	order     []hns.EndpointID
	endpoints []verdict.Endpoint
}

// New returns an empty inventory.
func New(reader Reader, opts Options) *Inventory {
	return &Inventory{reader: reader, opts: opts, known: map[hns.EndpointID]entry{}}
}

// Observe updates the inventory and returns what HNS has now, except for load balancers: see package loadbalancer.
// After an error nothing is known, not even whether earlier endpoints still exist. But with [ErrNoPodNetwork] and
// [ErrAmbiguousPodNetwork] the snapshot has all endpoints, and lacks only the network.
func (i *Inventory) Observe(ctx context.Context) (verdict.Snapshot, error) {
	snapshot, err := i.observe(ctx)
	if err != nil {
		i.last = nil
		i.rereadSoon(i.opts.Clock.Now())
		return snapshot, err
	}
	i.last, i.started = &snapshot, true
	return snapshot, nil
}

func (i *Inventory) observe(ctx context.Context) (verdict.Snapshot, error) {
	now := i.opts.Clock.Now()
	ids, err := i.reader.ListEndpointIDs(ctx)
	if err != nil {
		return verdict.Snapshot{}, fmt.Errorf("observing HNS: %w", err)
	}
	if err := i.readNew(ctx, ids, now); err != nil {
		return verdict.Snapshot{}, err
	}
	if err := i.refreshOldest(ctx, now); err != nil {
		return verdict.Snapshot{}, err
	}
	if err := i.refreshNetworks(ctx, now); err != nil {
		return verdict.Snapshot{}, err
	}
	network, err := i.podNetwork(ctx, ids, now)
	if err != nil {
		return verdict.Snapshot{Taken: now, Endpoints: i.inOrder(ids)}, err
	}
	if i.last != nil && i.last.Network.ID != network.ID {
		i.forgetAppearances()
	}
	if err := i.refreshAttachment(ctx, network.ID, now); err != nil {
		return verdict.Snapshot{}, err
	}
	i.arrange(ids, network.ID)
	return verdict.Snapshot{Taken: now, Network: network, Endpoints: i.endpoints}, nil
}

// readNew reads the endpoints that are new and forgets those that are gone.
func (i *Inventory) readNew(ctx context.Context, ids []hns.EndpointID, now time.Time) error {
	if i.order != nil && len(ids) == len(i.known) && slices.Equal(ids, i.order) {
		return nil // they are the IDs of the previous snapshot, and all of them could be read
	}
	fresh := verdict.Endpoint{Seen: now}
	if i.last != nil && now.Sub(i.last.Taken) <= i.opts.MaxGap {
		fresh.Appeared = i.last.Taken
	}
	for _, id := range ids {
		if _, is := i.known[id]; is {
			continue
		}
		if err := i.read(ctx, id, fresh, now); err != nil {
			return err
		}
	}
	present := sets.New(ids...)
	for id := range i.known {
		if !present.Has(id) {
			i.forget(id)
		}
	}
	return nil
}

func (i *Inventory) forget(id hns.EndpointID) {
	delete(i.known, id)
	i.changed()
}

// changed invalidates the order, because the known endpoints have changed.
func (i *Inventory) changed() { i.order = nil }

// read reads one endpoint, or finds that it is gone (invariant 2). It keeps the times of the previous read.
func (i *Inventory) read(ctx context.Context, id hns.EndpointID, before verdict.Endpoint, now time.Time) error {
	endpoint, err := i.reader.Endpoint(ctx, id)
	if errors.Is(err, hns.ErrNotFound) {
		i.forget(id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("observing HNS: %w", err)
	}
	if endpoint.Untranslated != "" && before.Untranslated == "" {
		logf.FromContext(ctx).Info("Cannot translate an HNS endpoint in full; keeping it",
			"endpointID", id, "problem", endpoint.Untranslated)
	}
	if !before.Equal(endpoint) {
		i.changed()
	}
	if !i.lists(endpoint.Network) {
		i.listed = time.Time{}
	}
	if before.ID != "" && before.Network != endpoint.Network { // no living endpoint changes its network
		i.rereadSoon(now)
	}
	i.remember(before, endpoint, now)
	return nil
}

// refreshAttachment reads again the local endpoints whose attachment may decide about a remote one: those that share an
// address with it.
func (i *Inventory) refreshAttachment(ctx context.Context, network hns.NetworkID, now time.Time) error {
	locals := map[netip.Addr][]hns.EndpointID{}
	for id, e := range i.known {
		if e.Network == network && !e.Remote() {
			for _, addr := range e.Addresses {
				locals[addr] = append(locals[addr], id)
			}
		}
	}
	shared := sets.New[hns.EndpointID]()
	for _, e := range i.known {
		for _, addr := range e.Addresses {
			if e.Network == network && e.Remote() {
				shared.Insert(locals[addr]...)
			}
		}
	}
	for id := range shared {
		if err := i.read(ctx, id, i.known[id].Endpoint, now); err != nil {
			return err
		}
	}
	return nil
}

// forgetAppearances makes all endpoints count as old: after HNS restarts, old endpoints come back as new ones
// (invariant 3).
func (i *Inventory) forgetAppearances() {
	for id, e := range i.known {
		e.Appeared = time.Time{}
		i.known[id] = e
	}
	i.changed()
}

// arrange puts the known endpoints into HNS's order. If neither has changed, snapshots share the result.
func (i *Inventory) arrange(ids []hns.EndpointID, network hns.NetworkID) {
	if i.order != nil && slices.Equal(ids, i.order) && i.last != nil && i.last.Network.ID == network {
		return
	}
	i.order, i.endpoints = ids, i.inOrder(ids)
}

func (i *Inventory) inOrder(ids []hns.EndpointID) []verdict.Endpoint {
	endpoints := make([]verdict.Endpoint, 0, len(ids))
	for _, id := range ids {
		if e, known := i.known[id]; known {
			endpoints = append(endpoints, e.Endpoint)
		}
	}
	return endpoints
}
