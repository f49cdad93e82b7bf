// SPDX-License-Identifier: Apache-2.0

// Package terminal lays out text for people: it wraps lines, and colours words.
//
// Invariants:
//
//  1. Only a terminal gets colours, and none if $NO_COLOR is set: what is written to a file or a pipe is plain text.
//  2. Colours repeat what words say. Without them nothing is lost.
package terminal
