// SPDX-License-Identifier: Apache-2.0

// Package terminal prints text for users. Names, messages and versions come from a cluster or from someone else's
// recording, and a terminal obeys the control characters in them.
//
// Invariants:
//
//  1. The only control characters that a [Writer] outputs are newlines, tabs and the colours of this package. It shows
//     others as escapes, and also characters that reverse or hide text.
//  2. A value on a [Page] is escaped before the page is laid out: a newline or tab in it starts no line and no column.
//  3. Only a terminal gets colours, and only if $NO_COLOR is not set. Colours only repeat what the text says.
//  4. A paragraph is as wide as the terminal. A wider word is not broken: it may be an address that users copy.
package terminal
