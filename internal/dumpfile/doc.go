// SPDX-License-Identifier: Apache-2.0

// Package dumpfile loads the files that scan reads and reports what is wrong with them. Packages hnsdump and
// clusterdump parse what is in them.
//
// Invariants:
//
//  1. Memory is bounded. A file or a stream above the limit is refused; a file is refused before it is read.
//  2. A fault names the file, the line and the column, counted in the decoded text. All faults of a file are reported
//     together, in the order of the file.
//  3. A JSON value that ends too early is reported as a truncated file, not as bad syntax.
package dumpfile
