// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

// timeout limits one run of netsh, which takes a second or two.
const timeout = 30 * time.Second

// System runs the netsh of this Windows.
func System(ctx context.Context, args ...string) (string, int, error) {
	folder, err := windows.GetSystemDirectory() // not %SystemRoot%, which a pod can set
	if err != nil {
		return "", 0, fmt.Errorf("finding netsh: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	//nolint:gosec // there is no shell, and the rule was checked
	output, err := exec.CommandContext(ctx, filepath.Join(folder, "netsh.exe"), args...).CombinedOutput()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", 0, fmt.Errorf("running netsh: it did not exit: %w", ctx.Err())
	case errors.As(err, &failed):
		return string(output), failed.ExitCode(), nil
	case err != nil:
		return "", 0, fmt.Errorf("running netsh: %w", err)
	default:
		return string(output), 0, nil
	}
}
