// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// A held conflict ends badly on a kube-proxy with the stale record if the pod's own endpoint is the last of its
// address that HNS enumerates: when the slice drops the address, kube-proxy looks it up, keeps the last endpoint that
// it sees and deletes that one. If a remote endpoint comes last, kube-proxy deletes that, and a flush afterwards
// saves the pod.
//
// The shield is such an endpoint: like the stale one, which stays, because kube-proxy's load balancers refer to it.
// Since the order of enumeration is not documented, the guard looks where the new one stands. Whatever becomes of the
// guard in the meantime, the shield is an endpoint like any other of kube-proxy's: when the slice has dropped the
// address it is in conflict with the pod and is removed, and when the pod has gone it is an orphan.

// ShieldResult is the closed set of what became of the attempt to shield a pod's endpoint.
type ShieldResult string

// The results.
const (
	// ShieldMade: a remote endpoint stands behind the local one.
	ShieldMade ShieldResult = "made"
	// ShieldRefused: this HNS does not let two endpoints share an address.
	ShieldRefused ShieldResult = "refused"
	// ShieldMisplaced: HNS enumerates new endpoints before the local one.
	ShieldMisplaced ShieldResult = "misplaced"
	// ShieldFailed: HNS or the API server could not be asked.
	ShieldFailed ShieldResult = "failed"
)

func shieldResults() []ShieldResult {
	return []ShieldResult{ShieldMade, ShieldRefused, ShieldMisplaced, ShieldFailed}
}

// shieldAttempts is how often a place behind the local endpoint is tried for. Where the order is that of age, the first
// attempt is as good as the last; where it is by ID, every attempt has an even chance.
const shieldAttempts = 4

// shield protects the pods of held conflicts, if that is asked for.
func (g *Guard) shield(ctx context.Context, evidence verdict.Evidence, verdicts []verdict.Verdict) {
	// An overlay's remote endpoints have a provider address, which only kube-proxy knows how to find.
	if !g.Config.Enforces(g.Config.Shield.Mode) || evidence.Snapshot.Network.Type != hns.NetworkL2Bridge {
		return
	}
	for _, v := range verdicts {
		if v.Kind != verdict.Held || shielded(evidence.Snapshot, v) ||
			g.backoff.IsInBackOffSinceUpdate(v.Address().String(), evidence.Now) {
			continue
		}
		g.backoff.Next(v.Address().String(), evidence.Now)
		result, err := g.makeShield(ctx, evidence, v)
		g.recordShield(ctx, v, result, err)
	}
}

// shielded reports whether a remote endpoint is the last of its address.
func shielded(snapshot inventory.Snapshot, v verdict.Verdict) bool {
	last := inventory.Endpoint{}
	for _, e := range snapshot.Endpoints {
		if e.Network == snapshot.Network.ID && e.Has(v.Address()) {
			last = e
		}
	}
	return last.Remote()
}

// makeShield makes a remote endpoint that is enumerated after the pod's own. One that is not is taken away again.
func (g *Guard) makeShield(ctx context.Context, evidence verdict.Evidence, v verdict.Verdict) (ShieldResult, error) {
	again, err := g.rejudge(ctx, evidence, v)
	if err != nil {
		return ShieldFailed, err
	}
	if again.Kind != verdict.Held {
		return ShieldFailed, fmt.Errorf("%w: it is now %s (%s)", errRefused, again.Kind, again.Reason)
	}
	for range shieldAttempts {
		made, err := g.HNS.CreateRemoteEndpoint(ctx, hns.RemoteSpec{
			Network: v.Endpoint.Network, Address: v.Address(), MAC: v.Endpoint.MAC,
		})
		if errors.Is(err, hns.ErrRefused) {
			return ShieldRefused, err
		}
		if err != nil {
			return ShieldFailed, err
		}
		behind, err := g.standsBehind(ctx, made.ID, again.Locals)
		if err != nil {
			return ShieldFailed, err
		}
		if behind {
			return ShieldMade, nil
		}
		if err := g.HNS.DeleteEndpoint(ctx, made.ID); err != nil && !errors.Is(err, hns.ErrNotFound) {
			return ShieldFailed, fmt.Errorf("taking a misplaced shield away: %w", err)
		}
	}
	return ShieldMisplaced, nil
}

// standsBehind reports whether HNS enumerates an endpoint after all of the others.
func (g *Guard) standsBehind(ctx context.Context, id hns.EndpointID, others []hns.EndpointID) (bool, error) {
	order, err := g.HNS.ListEndpointIDs(ctx)
	if err != nil {
		return false, fmt.Errorf("looking where the shield stands: %w", err)
	}
	place := slices.Index(order, id)
	return !slices.ContainsFunc(others, func(o hns.EndpointID) bool { return slices.Index(order, o) > place }), nil
}

func (g *Guard) recordShield(ctx context.Context, v verdict.Verdict, result ShieldResult, err error) {
	g.Metrics.shields.WithLabelValues(string(result)).Inc()
	log := withVerdict(logf.FromContext(ctx), v).WithValues("result", result)
	if result == ShieldMade {
		log.Info("Shielded a pod's endpoint: kube-proxy will find a remote one of its address first")
		return
	}
	log.Error(err, "A pod's endpoint was not shielded; kube-proxy may delete it when the slice drops its address")
}
