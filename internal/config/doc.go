// SPDX-License-Identifier: Apache-2.0

// Package config is hnsguard's policy: what it may do, after how long, how often and how much at once. (Who and where
// the process is, its addresses and its log, are flags.)
//
// A file is decoded strictly, and every fault in it is reported at once, each with the path of its field. A test
// decodes every file that the project ships.
//
// Invariants:
//
//  1. A [Config] that this package returned without error is valid and complete; nobody else needs to check or
//     default it.
//  2. A key that is not known, or stands twice, is a fault: a misspelt limit must not become the default.
//  3. The defaults are the file's own: decoding an empty file yields them.
package config
