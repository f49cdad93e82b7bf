// SPDX-License-Identifier: Apache-2.0

package bundle

// What is recorded of the kinds of the cluster.
var (
	TrimPod     = trimPod
	TrimSlice   = trimSlice
	TrimService = trimService
)

// ReadLimited reads a bundle with a limit of its own.
var ReadLimited = read
