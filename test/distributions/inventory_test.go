// SPDX-License-Identifier: Apache-2.0

package distributions_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// dumped is an HNS that returns the objects of a dump.
type dumped struct{ recording.HNS }

func (d *dumped) Networks(context.Context) ([]hns.Network, error) { return d.HNS.Networks, nil }

func (d *dumped) ListEndpointIDs(context.Context) ([]hns.EndpointID, error) {
	ids := make([]hns.EndpointID, 0, len(d.Endpoints))
	for _, e := range d.Endpoints {
		ids = append(ids, e.ID)
	}
	return ids, nil
}

func (d *dumped) Endpoint(_ context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	for _, e := range d.Endpoints {
		if e.ID == id {
			return e, nil
		}
	}
	return hns.Endpoint{}, hns.ErrNotFound
}

// Invariant 1, with other objects on a node: one that cannot be translated makes nothing else unknown, and a later
// network that looks like the pod network changes nothing.
func TestWhatElseIsOnTheNodeChangesNothing(t *testing.T) {
	for _, n := range nodes() {
		if n.rests() {
			continue
		}
		t.Run(n.file, func(t *testing.T) {
			g := NewWithT(t)
			service := &dumped{n.dump(t)}
			service.Endpoints = append(service.Endpoints, hns.Endpoint{
				ID: "5d2c3069-8a18-4785-8f84-eee288cfb3d8", Name: "odd", Untranslated: `parsing IP address: "10.1.2.256"`,
			})
			clock := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
			reader := inventory.New(service, inventory.Options{
				RereadEvery: time.Minute, NetworksEvery: time.Second, MaxGap: time.Minute, Clock: clock,
			})
			snapshot, err := reader.Observe(t.Context())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(snapshot.Network.Name).To(Equal(n.network))
			g.Expect(snapshot.Endpoints).To(HaveLen(len(service.Endpoints)))

			for _, name := range []string{"azure", "Calico", "l2bridge"} {
				if name != n.network {
					service.HNS.Networks = append(service.HNS.Networks, hns.Network{
						ID: hns.NetworkID("id of " + name), Name: name, Type: n.kind,
					})
				}
			}
			clock.SetTime(clock.Now().Add(time.Minute))
			snapshot, err = reader.Observe(t.Context())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(snapshot.Network.Name).To(Equal(n.network))
		})
	}
}
