// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package hcnclient

import (
	"fmt"
	"runtime"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// New returns an error, because this system has no HNS.
func New() (hns.Client, error) {
	return nil, fmt.Errorf("opening HNS on %s: %w", runtime.GOOS, hns.ErrUnsupported)
}
