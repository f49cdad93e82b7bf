// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"
)

// Request enqueues the node. There is only one request, so any number of events leads to one pass.
type Request struct{}

type queue = workqueue.TypedRateLimitingInterface[Request]

// sliceDelay batches changes of EndpointSlices, which are frequent in a large cluster, into one pass. They are not
// urgent; changes of a pod are.
const sliceDelay = 2 * time.Second

// logFor gives a pass a different logger than the controller around it.
func logFor(log logr.Logger) func(*Request) logr.Logger {
	pass, rest := log.WithName("guard"), log.WithName("controller")
	return func(r *Request) logr.Logger {
		if r == nil {
			return rest
		}
		return pass
	}
}

// firstTick enqueues the first pass; each pass schedules the next. An empty cluster sends no other event.
func firstTick(_ context.Context, q queue) error {
	q.Add(Request{})
	return nil
}

func enqueue(q queue)      { q.Add(Request{}) }
func enqueueLater(q queue) { q.AddAfter(Request{}, sliceDelay) }
