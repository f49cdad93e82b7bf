// SPDX-License-Identifier: Apache-2.0

// Package metrics has what all metrics of hnsguard share. The metrics themselves are in the packages that they measure,
// each created by a constructor that takes a registerer; nothing registers itself.
//
// Invariants:
//
//  1. Every name begins with the namespace, uses base units and passes promlint.
//  2. Label values come from closed sets of constants. No label holds an IP address, an ID, a pod or a Service.
//  3. Every series of a closed set exists from the start, at zero, so that a first increment is seen by rate().
package metrics
