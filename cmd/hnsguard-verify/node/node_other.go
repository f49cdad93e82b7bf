// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package node

import (
	"fmt"
	"runtime"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// Read says that this is no Windows.
func Read() (Machine, error) {
	return Machine{}, fmt.Errorf("this is %s: %w", runtime.GOOS, hns.ErrUnsupported)
}

// Open says that this system has no HNS.
func Open(string) (contract.Service, error) {
	return nil, fmt.Errorf("opening HNS on %s: %w", runtime.GOOS, hns.ErrUnsupported)
}
