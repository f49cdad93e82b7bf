#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the benchmarks of this checkout on the agent as it was before the work on speed, which is the "before" of
# docs/results/performance.md. The agent's packages had other parameters then: before.patch changes the benchmarks for them. If
# it does not apply any more, change it with the benchmarks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

revision=472b59c
run=$PWD/test/bench/run.sh
work=$(mktemp -d)
trap 'git worktree remove --force "$work/before" 2>/dev/null || true; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/before" "$revision"
cp -r test/bench "$work/before/test/"
cp test/nodetest/{api,world}.go "$work/before/test/nodetest/"
rm -r "$work/before/test/bench/report"
cd "$work/before"
git apply test/bench/before.patch
REVISION=$revision "$run"
