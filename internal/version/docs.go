// SPDX-License-Identifier: Apache-2.0

package version

// A person who reads what the program prints has no copy of the documentation at hand, in a pod least of all: every
// reference in the output is a URL.
const docs = "https://github.com/hnsguard/hnsguard/blob/main/docs/"

// DocsURL returns where a page of the documentation is, given its path below docs.
func DocsURL(page string) string { return docs + page }

// RunbookURL returns where the runbook of an alert is.
func RunbookURL(alert string) string { return DocsURL("runbooks/" + alert + ".md") }
