// SPDX-License-Identifier: Apache-2.0

// Package firewall keeps one rule of the Windows firewall, which lets scrapers in.
//
// It runs netsh, which every Windows has, by its full path and without a shell. The alternative, COM, would add a group
// to the rule and change it in place, and is far harder to get right unseen. What netsh prints is in the language of
// the system: only its exit status is understood, and the text is for people.
//
// Invariants:
//
//  1. Only rules whose name begins with [Prefix] are ever touched. netsh deletes every rule of the name that it is
//     given, and takes the name "all" for all rules there are.
//  2. However often it is ensured, there is one rule of the name, and it says what was asked for last.
//  3. A rule lets in TCP on one port, from addresses that were named. All faults of one are reported at once, before
//     anything is changed.
package firewall
