// SPDX-License-Identifier: Apache-2.0

// Package firewall maintains one rule of the Windows firewall, which lets scrapers connect.
//
// It runs netsh, which every Windows has, by its full path and without a shell. The alternative, COM, could put the
// rule into a group and change it in place, but cannot be tested without Windows. netsh prints in the language of the
// system: its exit status decides, and its text is only shown.
//
// Invariants:
//
//  1. Only rules whose name begins with [Prefix] are ever touched. netsh deletes all rules with a name, and takes the
//     name "all" for all rules that exist.
//  2. However often it is ensured, one rule has the name, and it is the last one that was ensured.
//  3. A rule allows TCP on one port from the given addresses. All faults of a rule are reported at once, before
//     anything is changed.
//  4. The commands in the documentation that remove the rule by hand remove the rule that is ensured by default.
package firewall
