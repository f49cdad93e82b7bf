// SPDX-License-Identifier: Apache-2.0

// Package serving is how metrics are served to others than the node itself: over TLS, and only to clients that the API
// server knows and lets read /metrics.
//
// Invariants:
//
//  1. A key comes from the folder that the operator named, or is made here and never leaves memory. No other folder is
//     looked into: a HostProcess container shares its temp folder with every user of the host.
//  2. A folder without a usable pair of certificate and key is an error at the start. One that becomes unusable later
//     changes nothing: the last good pair stays in use.
//  3. Nobody is served without a token that the API server accepts.
package serving
