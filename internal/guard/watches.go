// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/hnsguard/hnsguard/internal/slicewatch"
)

// Request requests a look at the node. There is only one, so any number of events makes one pass.
type Request struct{}

type queue = workqueue.TypedRateLimitingInterface[Request]

// sliceDelay gathers changes of EndpointSlices, which come all the time in a large cluster, before they make a pass.
// Nothing that they bring is urgent: a pod's own changes are.
const sliceDelay = 2 * time.Second

// logFor gives a pass another logger than the controller around it.
func logFor(log logr.Logger) func(*Request) logr.Logger {
	pass, rest := log.WithName("guard"), log.WithName("controller")
	return func(r *Request) logr.Logger {
		if r == nil {
			return rest
		}
		return pass
	}
}

// firstTick enqueues the first pass; each pass schedules the next. Without it an empty cluster would never have one.
func firstTick(_ context.Context, q queue) error {
	q.Add(Request{})
	return nil
}

func now(q queue)   { q.Add(Request{}) }
func later(q queue) { q.AddAfter(Request{}, sliceDelay) }

// serviceWatch begins to watch Services when the pod network is known to be an overlay. Only there does kube-proxy make
// endpoints for their addresses; elsewhere the watch would cost memory for nothing.
type serviceWatch struct {
	slices *slicewatch.Watch
	wanted *signal
	ctrl   controller.TypedController[Request]
}

// Start implements [sigs.k8s.io/controller-runtime/pkg/manager.Runnable].
func (w serviceWatch) Start(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-w.wanted.done:
	}
	if err := w.ctrl.Watch(slicewatch.Services(w.slices, later)); err != nil {
		return fmt.Errorf("watching Services: %w", err)
	}
	return nil
}

// signal is something that happens once.
type signal struct {
	once sync.Once
	done chan struct{}
}

func newSignal() *signal { return &signal{done: make(chan struct{})} }

func (s *signal) set() { s.once.Do(func() { close(s.done) }) }
