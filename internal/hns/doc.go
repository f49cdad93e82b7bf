// SPDX-License-Identifier: Apache-2.0

// Package hns is the seam between hnsguard and the Windows Host Networking Service.
//
// It holds the types, the errors and the [Client] interface that the rest of the program speaks, and the deadline that
// any client can be wrapped in; package observe measures one. It has no build tags: everything but the one adapter that
// calls Windows (package hcnclient) compiles and is tested on every system.
//
// Invariants:
//
//  1. Unknown is never absent. A list is complete or an error; no method returns what it could read so far.
//  2. "Not found" is one error, [ErrNotFound], whatever shape the service gave it. It is a proof of absence, and the
//     only one there is: [ErrUnavailable], [ErrTimeout] and every other error prove nothing.
//  3. IDs are compared by value: they are lower-case and unbraced from the moment they are parsed, because HNS itself
//     answers in either case.
//  4. Addresses are [net/netip.Addr], unmapped and without a zone, never strings.
//  5. A call that outlived its deadline may still take effect. After [ErrTimeout] the outcome of a delete is unknown
//     and has to be looked up.
package hns
