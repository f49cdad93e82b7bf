// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package firewall

import (
	"context"
	"fmt"
	"runtime"
)

// System returns [ErrUnsupported].
func System(context.Context, ...string) (string, int, error) {
	return "", 0, fmt.Errorf("running netsh on %s: %w", runtime.GOOS, ErrUnsupported)
}
