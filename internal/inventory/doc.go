// SPDX-License-Identifier: Apache-2.0

// Package inventory knows what is in HNS, and keeps knowing it with few calls.
//
// HNS does not notify when an endpoint is created or deleted, so it has to be polled, and has no call that reads more
// than one endpoint. But one call lists all IDs, and an ID never changes its identity (address, hardware address,
// flags, network): only IDs that are new have to be read. What does change is whether a local endpoint is attached;
// that is read again where a decision may rest on it, which is where a remote endpoint has the same address.
//
// Invariants:
//
//  1. A [verdict.Snapshot] is complete: it comes from calls that all succeeded. A failed call gives an error and no
//     snapshot.
//  2. An endpoint that vanishes between the list and the read is absent, because HNS said so itself; every other
//     failure to read one fails the snapshot.
//  3. An endpoint counts as appeared only if the snapshot before it was complete, recent, and of the same pod network.
//  4. A wrong belief about HNS does not last. Local endpoints are read again every few minutes. A remote endpoint is
//     read again soon after it was first seen, and from then on within a week; it is also read before it is
//     deleted. After a failure of HNS, or a sign that it is not what it was, all are read again within minutes.
//  5. The pod network is found by name, or else only if it is unambiguous; otherwise nothing is known. A
//     better one that appears later takes its place.
//     Networks are listed again at once when an endpoint is on one that is not known, every few seconds while no pod
//     network is found, or none of its endpoints is left, or HNS has failed, and every few minutes otherwise.
package inventory
