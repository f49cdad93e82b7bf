// SPDX-License-Identifier: Apache-2.0

// Package slicewatch keeps the index of EndpointSlices current, and proves how current it is.
//
// A reflector lists and watches slices straight into the index, without an informer in between. So the index has
// everything up to the resource version that a [Watch] reports; an informer's version runs ahead of its handlers.
//
// To prove that the index has everything that the API server held at some moment, the server's resource version is
// requested after that moment, and the watch must reach it. If no slice changes, the server sends a bookmark about once
// a minute. A proof that cannot wait for the bookmark lists all slices from the server itself.
//
// Invariants:
//
//  1. A resource version is reported only after the index has everything up to it.
//  2. A proof holds for one moment. It proves nothing about later ones.
//  3. Every request has a deadline, and requests are rate limited.
//  4. A server whose version is lower than the watch's was restored from a backup: the index has another history.
//     Nothing is proved until the reflector has listed all slices again.
//  5. The slices that agents of hnsguard wrote come last in a list: if the index has one, it has everything that the
//     API server held when that slice was written.
package slicewatch
