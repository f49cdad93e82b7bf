// SPDX-License-Identifier: Apache-2.0

// Package page tests the node page like users: in a real Chromium, with the content security policy that the agent
// sends, with the keyboard, in light and dark mode. Its verdicts and history are real: those of a guard on a simulated
// node.
//
// Invariants:
//
//  1. The browser reports nothing: no error of a script, nothing that the policy blocks, no missing file. A test proves
//     that it would.
//  2. All text is readable: it has a contrast of at least 4.5 to its background, in both modes.
//  3. Every control has a name, and can be used with the keyboard alone.
//  4. On a phone everything can be read without horizontal scrolling.
//
// $HNSGUARD_CHROMIUM is the path of the browser; "make test-page" sets it. $HNSGUARD_SCREENSHOTS is the folder for the
// pictures of the documentation; "make screenshots" sets it.
package page
