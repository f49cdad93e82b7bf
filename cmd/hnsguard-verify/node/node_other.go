// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package node

import (
	"fmt"
	"runtime"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// Read returns an error, because this system is not Windows.
func Read() (Machine, error) {
	return Machine{}, fmt.Errorf("this is %s: %w", runtime.GOOS, hns.ErrUnsupported)
}

// Open returns an error, because this system has no HNS.
func Open(string) (contract.Service, error) {
	return nil, fmt.Errorf("opening HNS on %s: %w", runtime.GOOS, hns.ErrUnsupported)
}
