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
)

// Reader is what the inventory asks of HNS.
type Reader interface {
	Networks(ctx context.Context) ([]hns.Network, error)
	ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error)
	Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error)
}

// Options say how the inventory is kept. All fields but Network are required.
type Options struct {
	// Network is the name of the pod network, a pattern of it, or its ID; or empty to find it.
	Network string
	// RereadEvery is in what time everything is read afresh, a few endpoints with each snapshot.
	RereadEvery time.Duration
	// NetworksEvery is after what time networks are listed again. An HNS restart gives them other IDs.
	NetworksEvery time.Duration
	// MaxGap is how far two snapshots may lie apart for an endpoint that is new in the later one to have appeared.
	MaxGap time.Duration
	Clock  clock.PassiveClock
}

// Inventory remembers what it has read of HNS. It is for one caller at a time.
type Inventory struct {
	reader Reader
	opts   Options

	known    map[hns.EndpointID]entry
	networks []hns.Network
	listed   time.Time // when the networks were; zero to list them anew
	// chosen is the pod network, once it was found.
	chosen hns.NetworkID
	// last is the snapshot before, if nothing has gone wrong since.
	last *Snapshot
}

// entry is an endpoint as it was last read.
type entry struct {
	Endpoint
	read time.Time
}

// New makes an inventory that knows nothing yet.
func New(reader Reader, opts Options) *Inventory {
	return &Inventory{reader: reader, opts: opts, known: map[hns.EndpointID]entry{}}
}

// Observe brings the inventory up to date and returns what is in HNS now, but for load balancers: see package
// loadbalancer. After an error nothing is known: not even that what was there before still
// is.
func (i *Inventory) Observe(ctx context.Context) (Snapshot, error) {
	snapshot, err := i.observe(ctx)
	if err != nil {
		i.last = nil
		return Snapshot{}, err
	}
	i.last = &snapshot
	return snapshot, nil
}

func (i *Inventory) observe(ctx context.Context) (Snapshot, error) {
	now := i.opts.Clock.Now()
	ids, err := i.reader.ListEndpointIDs(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("observing HNS: %w", err)
	}
	if err := i.learn(ctx, ids, now); err != nil {
		return Snapshot{}, err
	}
	if err := i.refreshOldest(ctx, now); err != nil {
		return Snapshot{}, err
	}
	if err := i.refreshNetworks(ctx, now); err != nil {
		return Snapshot{}, err
	}
	network, err := i.podNetwork(ids)
	if err != nil {
		return Snapshot{}, err
	}
	if err := i.refreshAttachment(ctx, network.ID, now); err != nil {
		return Snapshot{}, err
	}
	if i.last != nil && i.last.Network.ID != network.ID {
		i.forgetAppearances()
	}
	return Snapshot{Taken: now, Network: network, Endpoints: i.inOrder(ids)}, nil
}

// learn reads the endpoints that are new and forgets those that have gone.
func (i *Inventory) learn(ctx context.Context, ids []hns.EndpointID, now time.Time) error {
	fresh := Endpoint{Seen: now}
	if i.last != nil && now.Sub(i.last.Taken) <= i.opts.MaxGap {
		fresh.Appeared = i.last.Taken
	}
	for _, id := range ids {
		if _, known := i.known[id]; known {
			continue
		}
		if err := i.read(ctx, id, fresh, now); err != nil {
			return err
		}
		if !slices.ContainsFunc(i.networks, func(n hns.Network) bool { return n.ID == i.known[id].Network }) {
			i.listed = time.Time{}
		}
	}
	present := sets.New(ids...)
	for id := range i.known {
		if !present.Has(id) {
			delete(i.known, id)
		}
	}
	return nil
}

// read reads one endpoint, or finds that it has gone (invariant 2). Of what was known before, the times stay.
func (i *Inventory) read(ctx context.Context, id hns.EndpointID, before Endpoint, now time.Time) error {
	endpoint, err := i.reader.Endpoint(ctx, id)
	if errors.Is(err, hns.ErrNotFound) {
		delete(i.known, id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("observing HNS: %w", err)
	}
	if endpoint.Untranslated != "" && before.Untranslated == "" {
		logf.FromContext(ctx).Info("Cannot translate an HNS endpoint in full; keeping it",
			"endpointID", id, "problem", endpoint.Untranslated)
	}
	before.Endpoint = endpoint
	i.known[id] = entry{Endpoint: before, read: now}
	return nil
}

// minReread is how many endpoints are read afresh with each snapshot at least, if so many are due.
const minReread = 10

// refreshOldest reads some of the endpoints again whose time has come: as many as the share of RereadEvery that has
// passed since the last snapshot, so that thousands of them are not read at once, while a pod waits.
func (i *Inventory) refreshOldest(ctx context.Context, now time.Time) error {
	budget := minReread
	if i.last != nil {
		share := float64(now.Sub(i.last.Taken)) / float64(i.opts.RereadEvery)
		budget = max(minReread, int(share*float64(len(i.known))))
	}
	for id, e := range i.known {
		if budget == 0 {
			break
		}
		if now.Sub(e.read) < i.opts.RereadEvery {
			continue
		}
		if err := i.read(ctx, id, e.Endpoint, now); err != nil {
			return err
		}
		budget--
	}
	return nil
}

// refreshAttachment reads the local endpoints again whose attachment may decide about a remote one.
func (i *Inventory) refreshAttachment(ctx context.Context, network hns.NetworkID, now time.Time) error {
	remote := sets.New[netip.Addr]()
	for _, e := range i.known {
		if e.Network == network && e.Remote() {
			remote.Insert(e.Addresses...)
		}
	}
	for id, e := range i.known {
		if e.Network != network || e.Remote() || !remote.HasAny(e.Addresses...) {
			continue
		}
		if err := i.read(ctx, id, e.Endpoint, now); err != nil {
			return err
		}
	}
	return nil
}

func (i *Inventory) refreshNetworks(ctx context.Context, now time.Time) error {
	if now.Sub(i.listed) < i.opts.NetworksEvery {
		return nil
	}
	networks, err := i.reader.Networks(ctx)
	if err != nil {
		return fmt.Errorf("observing HNS: %w", err)
	}
	i.networks, i.listed = networks, now
	return nil
}

// podNetwork finds the pod network. Once found it stays the same as long as HNS has it: another network that looks
// alike changes nothing.
func (i *Inventory) podNetwork(ids []hns.EndpointID) (hns.Network, error) {
	for _, n := range i.networks {
		if n.ID == i.chosen {
			return n, nil
		}
	}
	network, err := PodNetwork(i.opts.Network, i.networks, i.inOrder(ids))
	i.chosen = network.ID
	return network, err
}

// forgetAppearances makes all that is there count as there before: after an HNS restart old endpoints come back as new
// ones (invariant 3).
func (i *Inventory) forgetAppearances() {
	for id, e := range i.known {
		e.Appeared = time.Time{}
		i.known[id] = e
	}
}

func (i *Inventory) inOrder(ids []hns.EndpointID) []Endpoint {
	endpoints := make([]Endpoint, 0, len(ids))
	for _, id := range ids {
		if e, known := i.known[id]; known {
			endpoints = append(endpoints, e.Endpoint)
		}
	}
	return endpoints
}
