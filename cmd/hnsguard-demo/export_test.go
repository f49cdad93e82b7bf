// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
)

// DiscardLogs is for the start of the tests.
func DiscardLogs() { discardLogs() }

// PlayExpectingRemoval plays a scenario as if one more endpoint had to be gone at its end.
func PlayExpectingRemoval(ctx context.Context, o Options, endpoint string) error {
	for _, sc := range scenarios() {
		if sc.name == o.Scenario {
			sc.goes = append(sc.goes, endpoint)
			return o.play(ctx, sc)
		}
	}
	return fmt.Errorf("there is no scenario %q", o.Scenario)
}
