// SPDX-License-Identifier: Apache-2.0

// Package version identifies the running build of hnsguard.
//
// The release build sets version and commit with the linker. Other builds use what the Go toolchain recorded.
package version
