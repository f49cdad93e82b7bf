// SPDX-License-Identifier: Apache-2.0

// Package version says which build of hnsguard this is.
//
// The release build stamps version and commit with the linker; any other build reads what the Go toolchain recorded.
package version
