// SPDX-License-Identifier: Apache-2.0

// Package config is the configuration of hnsguard: what it may do, when, how often and how much at once. Flags
// configure the process: the node name, addresses and the log.
//
// [Decode] applies the defaults, strictly decodes the file into [Config] and validates the result. A test decodes every
// file that the project ships.
//
// Invariants:
//
//  1. A [Config] that [Decode] returns without an error is complete and valid. Callers neither validate nor default it.
//  2. Unknown keys, duplicate keys and further documents are errors: a misspelled limit must not become the default.
//  3. An empty file is the default configuration, and the default configuration is valid.
//  4. All faults are reported at once, each with the path of its field. There are two exceptions: a file that is not
//     YAML has no other faults, and if a value has the wrong type, such as a list instead of a string, only the first
//     such fault is reported, and unknown keys only after it is corrected.
package config
