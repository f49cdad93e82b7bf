// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// A held conflict ends badly on a kube-proxy with the stale record if the pod's own endpoint is the last of its
// address that HNS enumerates: when the slice drops the address, kube-proxy looks it up, keeps the last endpoint that
// it sees and deletes that one. If a remote endpoint comes last, kube-proxy deletes that, and a flush afterwards
// saves the pod.
//
// The shield is such an endpoint. There are two ways to make one. The first adds a second remote endpoint, and leaves
// the stale one, which kube-proxy's load balancers refer to. An HNS that lets a local endpoint join a remote one may
// refuse that. The second deletes the stale endpoint and creates it again. In the moment in between, the pod's
// endpoint is the only one of its address; but it is the one that kube-proxy would find without a shield, too.
//
// Since the order of enumeration is not documented, the shielder looks where the new endpoint stands. Whatever
// becomes of the agent, a shield is an endpoint like any other of kube-proxy's: it is in conflict with the pod, held
// as long as that is, and removed after; when the pod has gone it is an orphan.

// ShieldResult is the closed set of what became of the attempt to shield a pod's endpoint.
type ShieldResult string

// The results.
const (
	// ShieldMade: a second remote endpoint stands behind the local one.
	ShieldMade ShieldResult = "made"
	// ShieldReplaced: the stale endpoint was deleted, and created again behind the local one.
	ShieldReplaced ShieldResult = "replaced"
	// ShieldRemoved: the stale endpoint was deleted, and could not be created again.
	ShieldRemoved ShieldResult = "removed"
	// ShieldRefused: this HNS does not let two endpoints share an address.
	ShieldRefused ShieldResult = "refused"
	// ShieldMisplaced: HNS enumerates new endpoints before the local one.
	ShieldMisplaced ShieldResult = "misplaced"
	// ShieldFailed: HNS or the API server did not answer.
	ShieldFailed ShieldResult = "failed"
)

func shieldResults() []ShieldResult {
	return []ShieldResult{ShieldMade, ShieldReplaced, ShieldRemoved, ShieldRefused, ShieldMisplaced, ShieldFailed}
}

// shieldAttempts is how often a place behind the local endpoint is tried for. Where the order is that of age, the first
// attempt is as good as the last; where it is by ID, every attempt has an even chance.
const shieldAttempts = 4

// ShieldHNS is the part of HNS that the shielder uses.
type ShieldHNS interface {
	Deleter
	ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error)
	CreateRemoteEndpoint(ctx context.Context, spec hns.RemoteSpec) (hns.Endpoint, error)
}

// ShieldOptions configure a shielder.
type ShieldOptions struct {
	// Enforce allows endpoints to be made. If it is false, nothing is done.
	Enforce bool
	// Confirmer judges a conflict again before it is acted on. Required.
	Confirmer Confirmer
	// HNS is where endpoints are made. Required.
	HNS ShieldHNS
	// Limiter limits deletions, see [NewLimiter]. Required.
	Limiter *rate.Limiter
	// History gets the shields.
	// Default: it is not kept.
	History *history.Ring
	// Registerer gets the metrics. Required.
	Registerer prometheus.Registerer
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// Shielder shields the pods of held conflicts. It is for one caller at a time.
type Shielder struct {
	opts ShieldOptions
	// backoff and hung are by address; hung is for calls that did not return, which hold a thread until they do.
	backoff, hung *pauses
	shields       *prometheus.CounterVec
	window        prometheus.Histogram
}

var _ pass.Action = (*Shielder)(nil)

// NewShielder returns a shielder.
func NewShielder(o ShieldOptions) *Shielder {
	s := &Shielder{
		opts: o, backoff: newPauses(backoffFirst, backoffMost, o.Clock), hung: newPauses(hungFirst, hungMost, o.Clock),
		shields: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "shields_total",
			Help: "Attempts to shield a pod's endpoint from kube-proxy's stale record, by result.",
		}, []string{"result"}),
		window: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "shield_replacement_seconds",
			Help: "Time from the deletion of a stale remote endpoint until it stood behind the pod's endpoint again, " +
				"where HNS refused a second one.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 7),
		}),
	}
	o.Registerer.MustRegister(s.shields, s.window)
	for _, result := range shieldResults() {
		s.shields.WithLabelValues(string(result))
	}
	return s
}

// Run implements [pass.Action].
func (s *Shielder) Run(ctx context.Context, pass pass.Pass) time.Duration {
	// An overlay's remote endpoints have a provider address, which only kube-proxy knows how to find.
	if !s.opts.Enforce || pass.Evidence.Snapshot.Network.Type != hns.NetworkL2Bridge {
		return 0
	}
	for _, v := range pass.Verdicts {
		key := v.Address().String()
		if v.Kind != verdict.Held || shielded(pass.Evidence.Snapshot, v) ||
			s.backoff.left(key, pass.Evidence.Now) > 0 || s.hung.left(key, pass.Evidence.Now) > 0 {
			continue
		}
		s.backoff.begin(key)
		result, err := s.shield(ctx, pass.Evidence.Snapshot, v)
		if errors.Is(err, hns.ErrTimeout) {
			s.hung.begin(key)
		}
		s.record(ctx, v, result, err)
	}
	s.backoff.forget()
	s.hung.forget()
	return 0
}

// shielded reports whether a remote endpoint is the last of its address.
func shielded(snapshot verdict.Snapshot, v verdict.Verdict) bool {
	last := verdict.Endpoint{}
	for _, e := range snapshot.Endpoints {
		if e.Network == snapshot.Network.ID && e.Has(v.Address()) {
			last = e
		}
	}
	return last.Remote()
}

// shield makes a remote endpoint that is enumerated after the pod's own.
func (s *Shielder) shield(ctx context.Context, snapshot verdict.Snapshot, v verdict.Verdict) (ShieldResult, error) {
	again, err := s.opts.Confirmer.rejudge(ctx, snapshot, v, func() (claims, error) {
		return s.opts.Confirmer.readClaims(ctx, "", []verdict.Verdict{v})
	})
	if err != nil {
		return ShieldFailed, err
	}
	if again.Kind != verdict.Held {
		return ShieldFailed, fmt.Errorf("%w: it is now %s (%s)", errRefused, again.Kind, again.Reason)
	}
	result, err := s.add(ctx, again)
	if result != ShieldRefused {
		return result, err
	}
	return s.replace(ctx, again)
}

// add creates a second remote endpoint. One that does not stand behind the pod's is deleted again.
func (s *Shielder) add(ctx context.Context, v verdict.Verdict) (ShieldResult, error) {
	for range shieldAttempts {
		made, err := s.create(ctx, v)
		if errors.Is(err, hns.ErrRefused) {
			return ShieldRefused, err
		}
		if err != nil {
			return ShieldFailed, err
		}
		behind, err := s.standsBehind(ctx, made.ID, v.Locals)
		if err != nil {
			return ShieldFailed, err
		}
		if behind {
			return ShieldMade, nil
		}
		if err := s.opts.HNS.DeleteEndpoint(ctx, made.ID); err != nil && !errors.Is(err, hns.ErrNotFound) {
			return ShieldFailed, fmt.Errorf("deleting a misplaced shield: %w", err)
		}
	}
	return ShieldMisplaced, nil
}

// replace deletes the stale endpoint and creates it again.
func (s *Shielder) replace(ctx context.Context, v verdict.Verdict) (ShieldResult, error) {
	begun := s.opts.Clock.Now()
	if !s.opts.Limiter.AllowN(begun, 1) {
		return ShieldFailed, errors.New("replacing the stale endpoint: removals.perSecond is used up")
	}
	if err := s.opts.HNS.DeleteEndpoint(ctx, v.Endpoint.ID); err != nil {
		return ShieldFailed, fmt.Errorf("deleting the stale endpoint to create it again: %w", err)
	}
	made, err := s.create(ctx, v)
	if err != nil {
		return ShieldRemoved, fmt.Errorf("creating the stale endpoint again: %w", err)
	}
	s.window.Observe(s.opts.Clock.Since(begun).Seconds())
	behind, err := s.standsBehind(ctx, made.ID, v.Locals)
	switch {
	case err != nil:
		return ShieldFailed, err
	case !behind:
		return ShieldMisplaced, nil
	default:
		return ShieldReplaced, nil
	}
}

func (s *Shielder) create(ctx context.Context, v verdict.Verdict) (hns.Endpoint, error) {
	return s.opts.HNS.CreateRemoteEndpoint(ctx, hns.RemoteSpec{
		Network: v.Endpoint.Network, Address: v.Address(), MAC: v.Endpoint.MAC,
	})
}

// standsBehind reports whether HNS enumerates an endpoint after all of the others.
func (s *Shielder) standsBehind(ctx context.Context, id hns.EndpointID, others []hns.EndpointID) (bool, error) {
	order, err := s.opts.HNS.ListEndpointIDs(ctx)
	if err != nil {
		return false, fmt.Errorf("finding the place of the shield: %w", err)
	}
	place := slices.Index(order, id)
	return !slices.ContainsFunc(others, func(o hns.EndpointID) bool { return slices.Index(order, o) > place }), nil
}

func (s *Shielder) record(ctx context.Context, v verdict.Verdict, result ShieldResult, err error) {
	s.shields.WithLabelValues(string(result)).Inc()
	s.opts.History.Add(history.Of(history.Shield, string(result), v).Because(err))
	log := logf.FromContext(ctx).WithValues(v.KeysAndValues()...).WithValues("result", result)
	switch result {
	case ShieldMade, ShieldReplaced:
		log.Info("Shielded a pod's endpoint: kube-proxy will find a remote endpoint of its address first")
	case ShieldRemoved:
		log.Error(err, "Deleted a stale remote endpoint for a shield that could not be made")
	case ShieldRefused, ShieldMisplaced, ShieldFailed:
		log.Error(err, "Cannot shield a pod's endpoint; kube-proxy may delete it when the slice drops its address")
	}
}
