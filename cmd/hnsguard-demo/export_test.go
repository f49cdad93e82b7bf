// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"github.com/hnsguard/hnsguard/test/hnstest"
)

// DiscardLogs is for the start of the tests.
func DiscardLogs() { discardLogs() }

// PlayInVain plays a scenario that was measured to end badly with hnsguard too.
func PlayInVain(ctx context.Context, o Options) error {
	at := slices.Index(Names(), "held")
	sc := scenarios()[at]
	sc.order = hnstest.OldestFirst
	return o.play(ctx, sc)
}
