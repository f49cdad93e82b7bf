// SPDX-License-Identifier: Apache-2.0

package chart_test

import "strings"

// notYet reports whether an argument is of a part of the program that is being made.
func notYet(arg string) bool {
	return arg == "firewall" || strings.HasPrefix(arg, "--metrics-secure") || strings.HasPrefix(arg, "--metrics-cert-dir")
}
