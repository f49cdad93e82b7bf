// SPDX-License-Identifier: Apache-2.0

// Package textencoding reads text files as they come from Windows: PowerShell 5's ">" writes UTF-16 with a byte order
// mark, newer shells UTF-8 with or without one, and some editors drop the mark of UTF-16.
//
// Invariants:
//
//  1. What is returned is valid UTF-8 without a byte order mark, and line ends are as they were.
//  2. Nothing is replaced or dropped in silence: bytes that are no text in the encoding found are an error that says
//     where they are, because a damaged file must not read as a smaller one.
package textencoding
