// SPDX-License-Identifier: Apache-2.0

package terminal

import "io"

// Colours reports whether a terminal of an operating system gets colours.
var Colours = colours

// Coloured returns a writer that uses colours.
func Coloured(w io.Writer) *Writer { return &Writer{to: w, colours: true} }

// WrapAt wraps a text at a width.
var WrapAt = wrap
