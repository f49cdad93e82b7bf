// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Freshness proves how current the view of EndpointSlices is.
type Freshness interface {
	// Current reports whether the view includes everything that the API server held at that time.
	Current(ctx context.Context, since time.Time) (bool, error)
}

// KeeperOptions configure a keeper.
type KeeperOptions struct {
	// Node is the name of this node. Required.
	Node string
	// Enforce allows keep-slices to be written. If it is false, a needed one is only reported.
	Enforce bool
	// Client writes the slices. Required.
	Client client.Client
	// Gate is open while an admission policy restricts what Client writes.
	// Default: it is always open.
	Gate *admission.Gate
	// Freshness proves how current the view is. Required.
	Freshness Freshness
	// Users returns all pods of the cluster, read from the API server, that may use one of the addresses. Required.
	Users func(ctx context.Context, addresses sets.Set[netip.Addr]) ([]cluster.Pod, error)
	// Server reads nodes from the API server, not from a cache. Required.
	Server client.Reader
	// Random returns a number from 0 to 1. Required.
	Random func() float64
	// Events records the Events on pods whose addresses are kept. Required.
	Events events.EventRecorder
	// History records the creation and deletion of keep-slices. Default: no history is kept.
	History *history.Ring
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// The bounds of the keep-slices.
const (
	// mostKeeps is the maximum number of keep-slices per node. A Windows node has at most 250 pods; slices still list few
	// of their addresses elsewhere.
	mostKeeps = 1000
	// createdPerPass and deletedPerPass limit the writes of a pass, which waits for the API server meanwhile. A policy
	// that compares with every Windows node makes deletions slow.
	createdPerPass = 50
	deletedPerPass = 2
)

// The times of keep-slices.
const (
	// unusedFor is how long an address must be unused before its keep-slice is deleted (invariant 14).
	unusedFor = 5 * time.Minute
	// strangersFirst and strangersMost bound when an agent first checks whether the node of another agent's keep-slice
	// exists: at a random time, so that few agents check.
	strangersFirst = 10 * time.Minute
	strangersMost  = 3 * time.Hour
)

// Keeper keeps the addresses of this node's pods listed. It is for one caller at a time.
type Keeper struct {
	opts    KeeperOptions
	backoff *flowcontrol.Backoff
	// unused is since when each keep-slice of this node, or of a node that does not exist, has been unused.
	unused map[cluster.Keep]time.Time
	// strangers are when to check whether nodes with keep-slices exist; absent are the nodes that do not.
	strangers map[string]time.Time
	absent    sets.Set[string]
	// proved is set once an admission policy was seen to restrict the keeper.
	proved bool
	// observed are the keep-slices that would have been written.
	observed sets.Set[cluster.Keep]
}

var _ pass.Action = (*Keeper)(nil)

// NewKeeper returns a keeper.
func NewKeeper(o KeeperOptions) *Keeper {
	return &Keeper{
		opts: o, backoff: flowcontrol.NewFakeBackOff(keepBackoffFirst, keepBackoffMost, o.Clock), // accepts a clock
		unused: map[cluster.Keep]time.Time{}, strangers: map[string]time.Time{},
		absent: sets.New[string](), observed: sets.New[cluster.Keep](),
	}
}

// The backoff of a write: a keep-slice that the watch does not show is written again.
const (
	keepBackoffFirst = 2 * time.Second
	keepBackoffMost  = 5 * time.Minute
)

// Run implements [pass.Action].
func (k *Keeper) Run(ctx context.Context, p pass.Pass) time.Duration {
	all := sets.New(slices.Collect(p.Evidence.Cluster.AllKeeps())...)
	wanted := verdict.WantedKeeps(p.Evidence)
	own := k.ownKeeps(all)
	k.opts.Metrics.kept.Set(float64(own.Len()))
	k.prove(ctx, p)
	next := k.create(ctx, p, sorted(wanted.Difference(own)), own.Len())
	k.findUnused(ctx, all, wanted)
	k.deleteUnused(ctx, p, all)
	k.backoff.GC()
	return next
}

// prove checks whether an admission policy restricts the keeper, before a pod is in danger: a closed gate would retry
// too late then.
func (k *Keeper) prove(ctx context.Context, p pass.Pass) {
	if k.proved || !k.opts.Enforce || !p.Evidence.KubeProxy.StaleRecord {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	k.proved = k.opts.Gate.Pass(ctx, k.try(metav1.NamespaceDefault)) == nil
}

func (k *Keeper) ownKeeps(keeps sets.Set[cluster.Keep]) sets.Set[cluster.Keep] {
	own := sets.New[cluster.Keep]()
	for keep := range keeps {
		if keep.Node == k.opts.Node {
			own.Insert(keep)
		}
	}
	return own
}

func sorted(keeps sets.Set[cluster.Keep]) []cluster.Keep {
	return slices.SortedFunc(slices.Values(keeps.UnsortedList()), func(a, b cluster.Keep) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.String(), b.String()))
	})
}

// create writes the missing keep-slices. It first requests the API server's version, so that the watch, once it shows a
// keep-slice, is proved to show everything that came before.
func (k *Keeper) create(ctx context.Context, p pass.Pass, missing []cluster.Keep, have int) time.Duration {
	due := slices.DeleteFunc(missing, func(keep cluster.Keep) bool {
		return k.backoff.IsInBackOffSinceUpdate(keep.String(), p.Evidence.Now)
	})
	if room := max(0, min(createdPerPass, mostKeeps-have)); len(due) > room {
		logf.FromContext(ctx).Info("More keep-slices are needed than one pass creates", "needed", len(due),
			"created", room, "most", mostKeeps)
		due = due[:room]
	}
	if !k.opts.Enforce {
		k.reportWanted(ctx, p, due)
		return 0
	}
	if len(due) == 0 {
		return 0
	}
	if _, err := k.opts.Freshness.Current(ctx, p.Evidence.Now); err != nil {
		logf.FromContext(ctx).Error(err, "Cannot request the resource version of EndpointSlices; conflicts may stay held")
	}
	for at, keep := range due {
		if !k.createOne(ctx, p, keep) {
			for _, other := range due[at+1:] { // the same failure would hit the others now
				k.backoff.Next(other.String(), k.opts.Clock.Now())
			}
			break
		}
	}
	return watchEvery
}

// createOne writes a keep-slice, and reports whether others may be written. If it exists, the watch does not show it
// yet, or others have changed it so that it keeps nothing: deleting it could be the drop that it prevents.
func (k *Keeper) createOne(ctx context.Context, p pass.Pass, keep cluster.Keep) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := k.opts.Gate.Pass(ctx, k.try(keep.Service.Namespace))
	if err == nil {
		err = k.opts.Client.Create(ctx, newKeepSlice(keep))
	}
	k.backoff.Next(keep.String(), k.opts.Clock.Now())
	k.record(ctx, p, actCreate, keep, err)
	return err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

// reportWanted reports each keep-slice that would be written, once.
func (k *Keeper) reportWanted(ctx context.Context, p pass.Pass, missing []cluster.Keep) {
	now := sets.New(missing...)
	for _, keep := range missing {
		if !k.observed.Has(keep) {
			k.record(ctx, p, actCreate, keep, errObserving)
		}
	}
	k.observed = now
}

// findUnused finds this node's keep-slices that it does not need, and those of nodes that do not exist.
func (k *Keeper) findUnused(ctx context.Context, present, wanted sets.Set[cluster.Keep]) {
	now, unused := k.opts.Clock.Now(), map[cluster.Keep]time.Time{}
	k.findAbsent(ctx, present)
	oldest := time.Time{}
	for keep := range present {
		own := keep.Node == k.opts.Node
		if wanted.Has(keep) || !own && !k.absent.Has(keep.Node) {
			continue
		}
		unused[keep] = cmp.Or(k.unused[keep], now)
		if own && (oldest.IsZero() || unused[keep].Before(oldest)) {
			oldest = unused[keep]
		}
	}
	k.unused = unused
	setSince(k.opts.Metrics.unused, oldest)
}

// findAbsent checks, rarely, whether the nodes of other agents' keep-slices exist.
func (k *Keeper) findAbsent(ctx context.Context, present sets.Set[cluster.Keep]) {
	now, nodes := k.opts.Clock.Now(), sets.New[string]()
	for keep := range present {
		if keep.Node != k.opts.Node {
			nodes.Insert(keep.Node)
		}
	}
	for node := range k.strangers {
		if !nodes.Has(node) {
			delete(k.strangers, node)
			k.absent.Delete(node)
		}
	}
	for node := range nodes {
		at, known := k.strangers[node]
		if known && now.Before(at) {
			continue
		}
		wait := strangersFirst + fewEarly(k.opts.Random(), strangersMost-strangersFirst)
		k.strangers[node] = now.Add(wait)
		if !known {
			continue
		}
		err := k.opts.Server.Get(ctx, client.ObjectKey{Name: node}, &corev1.Node{})
		if client.IgnoreNotFound(err) != nil {
			logf.FromContext(ctx).Error(err, "Cannot find out whether the node of a keep-slice exists", "keptFor", node)
			continue
		}
		if k.absent.Delete(node); err != nil {
			k.absent.Insert(node)
		}
	}
}

// deleteUnused deletes the keep-slices that have been unused for long enough, if the API server has no pod that may use
// their addresses. Such a pod restarts the time (invariant 14).
func (k *Keeper) deleteUnused(ctx context.Context, p pass.Pass, present sets.Set[cluster.Keep]) {
	due, addresses := k.dueForDeletion(), sets.New[netip.Addr]()
	if !k.opts.Enforce || len(due) == 0 {
		return
	}
	for _, keep := range due {
		addresses.Insert(keep.Address)
	}
	pods, err := k.opts.Users(ctx, addresses)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Cannot determine which pods use the addresses of keep-slices; keeping them",
			"addresses", addresses.Len())
	}
	for _, keep := range due {
		k.backoff.Next(keep.String(), k.opts.Clock.Now())
		switch {
		case err != nil:
		case k.inUse(keep, pods, present, p.Evidence.KubeProxy.StaleRecord):
			k.unused[keep] = k.opts.Clock.Now()
		default:
			k.record(ctx, p, actDelete, keep, k.delete(ctx, keep))
		}
	}
}

// dueForDeletion returns the keep-slices that may be deleted in this pass.
func (k *Keeper) dueForDeletion() []cluster.Keep {
	now := k.opts.Clock.Now()
	due := slices.DeleteFunc(sorted(sets.KeySet(k.unused)), func(keep cluster.Keep) bool {
		return now.Sub(k.unused[keep]) < unusedFor || k.backoff.IsInBackOffSinceUpdate(keep.String(), now)
	})
	return due[:min(len(due), deletedPerPass)]
}

// inUse reports whether a pod may use the address of a keep-slice, and would be in danger without it. A pod of another
// node is safe if that node has its own keep-slice for the address. A pod on this node is safe if its kube-proxy has no
// such record.
func (k *Keeper) inUse(keep cluster.Keep, pods []cluster.Pod, present sets.Set[cluster.Keep], affected bool) bool {
	return slices.ContainsFunc(pods, func(pod cluster.Pod) bool {
		if pod.Terminal || !slices.Contains(pod.Addresses, keep.Address) {
			return false
		}
		if pod.Node == k.opts.Node {
			return affected
		}
		own := keep
		own.Node = pod.Node
		return own == keep || !present.Has(own)
	})
}
