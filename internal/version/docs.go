// SPDX-License-Identifier: Apache-2.0

package version

// Users of the output have no copy of the documentation, least of all in a pod, so every reference in the output is a
// URL.
const docs = "https://github.com/hnsguard/hnsguard/blob/main/docs/"

// DocsURL returns the URL of a page of the documentation, given its path below docs.
func DocsURL(page string) string { return docs + page }

// RunbookURL returns the URL of an alert's runbook.
func RunbookURL(alert string) string { return DocsURL("runbooks/" + alert + ".md") }
