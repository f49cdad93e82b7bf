// SPDX-License-Identifier: Apache-2.0

// Package docs says where the documentation is. A person who reads what the program prints has no copy of it at hand,
// in a pod least of all, so that every reference in the output is a URL.
package docs

const base = "https://github.com/hnsguard/hnsguard/blob/main/docs/"

// URL returns where a page is, given its path below docs.
func URL(page string) string { return base + page }

// Runbook returns where the runbook of an alert is.
func Runbook(alert string) string { return URL("runbooks/" + alert + ".md") }
