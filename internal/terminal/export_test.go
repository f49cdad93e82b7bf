// SPDX-License-Identifier: Apache-2.0

package terminal

// Colours is whether a terminal of an operating system gets colours.
var Colours = colours
