// SPDX-License-Identifier: Apache-2.0

// Package page tests the node page as people use it: in a real Chromium, under the content security policy that the
// agent sends, with the keyboard, and in light and dark. The verdicts and the history that it shows are real ones, of a
// guard on a simulated node.
//
// Invariants:
//
//  1. The browser reports nothing: no error of a script, nothing that the policy blocks, no missing file. A test proves
//     that it would.
//  2. What has to be read can be: every text has a contrast of at least 4.5 to what is behind it, in both modes.
//  3. What can be used has a name, and can be used with the keyboard alone.
//  4. On a phone everything can be read without scrolling sideways.
//
// $HNSGUARD_CHROMIUM says where the browser is; "make test-page" sets it. $HNSGUARD_SCREENSHOTS is where the pictures
// of the documentation are written; "make screenshots" sets it.
package page
