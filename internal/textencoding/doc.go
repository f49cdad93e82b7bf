// SPDX-License-Identifier: Apache-2.0

// Package textencoding decodes text files from Windows: PowerShell 5's ">" writes UTF-16 with a byte order mark, newer
// shells write UTF-8 with or without one, and some editors drop the mark of UTF-16.
//
// Invariants:
//
//  1. The result is valid UTF-8 without a byte order mark. Line ends are kept.
//  2. Nothing is silently replaced or dropped. Bytes that are invalid in the detected encoding are an error that names
//     their place: a damaged file must not pass for a smaller one.
package textencoding
