// SPDX-License-Identifier: Apache-2.0

// Package terminal shows text to people. Names, messages and versions come from a cluster or from a stranger's
// recording, and a terminal obeys the control characters in them.
//
// Invariants:
//
//  1. Of control characters, only newlines and tabs reach the output of a [Writer], and the colours of this package.
//     Others are shown as escapes, and so are characters that reverse or hide text.
//  2. A value on a [Page] is escaped before the page is laid out: a newline or tab in it starts no line and no column.
//  3. Only a terminal gets colours, and none if $NO_COLOR is set. Colours repeat what words say.
//  4. A paragraph is as wide as the terminal. A word that is wider stays whole: it may be an address to be
//     copied.
package terminal
