// SPDX-License-Identifier: Apache-2.0

// Package config holds the policy of hnsguard: what it may do, after how long, how often and how much at once. Flags
// hold what belongs to the process: the node name, addresses and the log.
//
// [Decode] applies the defaults, decodes the file into [Config] strictly and validates the result. It reports every
// fault of a file at once, each with the path of its field. A test decodes every file that the project ships.
//
// Invariants:
//
//  1. A [Config] that [Decode] returns without an error is complete and valid. Callers neither check nor default it.
//  2. Unknown keys, duplicate keys and further documents are errors: a misspelt limit must not become the default.
//  3. An empty file is the default configuration, and the default configuration is valid.
//  4. A fault hides no other fault, except that nothing is known about a file that is not YAML.
//  5. The error for a field that was renamed names the new field.
package config
