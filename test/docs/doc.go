// SPDX-License-Identifier: Apache-2.0

// Package docs checks the documentation against the repository: that links work, and that the names in it exist. The
// tests read every Markdown file.
//
// Invariants:
//
//  1. A relative link leads to a file or folder of the repository, and its anchor to a heading.
//  2. A metric, a configuration field or value of the chart, a make target, a path and a flag of hnsguard exist if a
//     page names them as code.
//  3. The table of versions in docs/how-it-works.md agrees with package kubeproxy.
//  4. Lists that must be complete are: every verdict, package and alert is documented.
//  5. Nothing is called measured with a link to a scenario of the matrix that has no results.
//  6. The output of commands that need only files of this repository is what they print.
//  7. The pictures of the node page show the current page.
package docs
