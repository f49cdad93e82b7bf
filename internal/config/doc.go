// SPDX-License-Identifier: Apache-2.0

// Package config holds the policy of hnsguard: what it may do, after how long, how often and how much at once. Flags
// hold what belongs to the process: the node name, addresses and the log.
//
// [Decode] applies the defaults, decodes the file into [Config] strictly and validates the result. A test decodes every
// file that the project ships.
//
// Invariants:
//
//  1. A [Config] that [Decode] returns without an error is complete and valid. Callers neither check nor default it.
//  2. Unknown keys, duplicate keys and further documents are errors: a misspelt limit must not become the default.
//  3. An empty file is the default configuration, and the default configuration is valid.
//  4. All faults are reported at once, each with the path of its field. Two limits: nothing is known about a file that
//     is not YAML, and where the type of a value is wrong, such as a list in the place of a string, one such fault is
//     reported, and unknown keys only after it is corrected.
package config
