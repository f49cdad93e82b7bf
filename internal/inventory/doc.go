// SPDX-License-Identifier: Apache-2.0

// Package inventory keeps an inventory of HNS with few calls.
//
// HNS does not notify of created or deleted endpoints, so it must be polled, and no call reads more than one endpoint.
// But one call lists all IDs, and the identity behind an ID (address, hardware address, flags, network) never changes:
// only new IDs must be read. What does change is whether a local endpoint is attached; it is read again where a
// decision may depend on it, which is where a remote endpoint has the same address.
//
// Invariants:
//
//  1. A [verdict.Snapshot] is complete: it comes from calls that all succeeded. A failed call gives an error and no
//     snapshot.
//  2. An endpoint that vanishes between the list and the read is absent, because HNS itself says so; every other
//     failure to read an endpoint fails the snapshot.
//  3. An endpoint counts as appeared only if the previous snapshot was complete, recent, and of the same pod network.
//  4. A wrong belief about HNS does not last. Local endpoints are read again every few minutes. A remote endpoint is
//     read again soon after it was first seen, then within a week, and always before it is deleted. If HNS fails or
//     shows signs of having changed, all endpoints are read again within minutes.
//  5. The pod network is found by name; without a name, only if it is unambiguous. Otherwise nothing is known. A better
//     network that appears later replaces it. Networks are listed again at once when an endpoint is on an unknown one;
//     every few seconds while no pod network is found, the pod network has no endpoints, or HNS has failed; and every
//     few minutes otherwise.
package inventory
