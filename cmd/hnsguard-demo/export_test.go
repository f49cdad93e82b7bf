// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/test/world"
)

// DiscardLogs discards logs when the tests start.
func DiscardLogs() { discardLogs() }

// PlayInVain plays a scenario that ends badly even with hnsguard: the slice drops the address before any agent can see
// that a pod has it.
func PlayInVain(ctx context.Context, o Options) error {
	at := slices.Index(Names(), "held")
	sc := scenarios()[at]
	sc.scene = func(s *stage) {
		old := s.opening(later)
		s.end(old)
		s.start("billing-0", windowsNode, world.PodOptions{})
		s.until(func() bool { return strings.Contains(s.node().HNS.OrderOf(old.Addr), "L") })
		s.world.Drop(old)
		s.wait(syncPeriod + 2*time.Second)
	}
	return o.play(ctx, sc)
}
