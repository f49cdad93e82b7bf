#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Says what is measured, where and when, for the head of a file of results.
set -euo pipefail

revision=$(git describe --always)
# The results, and the page that shows them, change nothing.
git diff --quiet HEAD -- ':(top)' ':(top,exclude)docs' ':(top,exclude)test/bench/results' || revision+=-dirty

echo "go: $(go env GOVERSION)"
echo "goos: $(go env GOOS)"
echo "goarch: $(go env GOARCH)"
echo "cpu: $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)"
echo "revision: $revision"
echo "when: $(date -u +%Y-%m-%d)"
