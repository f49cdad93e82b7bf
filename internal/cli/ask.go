// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/hnsguard/hnsguard/internal/server"
)

// askAgent returns the status document of the agent on this node, which serves it at the given address.
func askAgent(ctx context.Context, address string, timeout time.Duration) ([]byte, error) {
	if address == nowhere {
		return nil, errors.New("it serves no page (--page-bind-address)")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return server.Get(ctx, "http://"+reachable(address)+server.StatusPath)
}
