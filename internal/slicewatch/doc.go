// SPDX-License-Identifier: Apache-2.0

// Package slicewatch keeps the view of EndpointSlices current, and proves how current it is.
//
// A reflector lists and watches slices straight into the index, without an informer in between. So the resource version
// that a [Watch] reports is the one up to which the index has everything: an informer's runs ahead of its handlers.
//
// To prove that the index has all that the API server held at some moment, the server's resource version is requested
// after that moment, and the watch has to reach it. Where nothing happens, the server sends a bookmark about once a
// minute. A proof that cannot wait for that is a list of all slices from the server itself.
//
// Invariants:
//
//  1. A resource version is reported only after the index has everything up to it.
//  2. A proof says for which moment it holds. It proves nothing about later ones.
//  3. Every request has a deadline, and requests are limited in rate.
//  4. A server whose version is lower than the watch's was restored from a backup: what the index has is of another
//     history. Nothing is proved until the reflector has listed all slices again.
//  5. Of a list, the slices that agents of hnsguard wrote come last: that the index has one proves that it has what the
//     API server held when it was written.
package slicewatch
