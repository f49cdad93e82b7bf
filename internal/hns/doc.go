// SPDX-License-Identifier: Apache-2.0

// Package hns is the seam between hnsguard and the Windows Host Networking Service.
//
// It has the types, the errors and the [Client] interface that the rest of the program uses, and a deadline that can
// wrap any client; package observe measures calls. It has no build tags: everything but the one adapter that calls
// Windows (package hcnclient) compiles and is tested on every system.
//
// Invariants:
//
//  1. Unknown is never absent. A list is complete or an error; no method returns a partial list.
//  2. "Not found" is one error, [ErrNotFound], in whatever form the service returns it. Only this error proves absence:
//     [ErrUnavailable], [ErrTimeout] and every other error prove nothing.
//  3. IDs can be compared by value: parsing makes them lower-case and unbraced, because HNS itself returns either case.
//  4. Addresses are [net/netip.Addr], unmapped and without a zone, never strings.
//  5. A call that outlives its deadline may still take effect. After [ErrTimeout] the outcome of a delete is unknown
//     and must be looked up.
package hns
