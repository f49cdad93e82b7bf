#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# compare.sh REVISION COUNT BENCHSTAT: runs the benchmarks of a revision and of this checkout, and compares them. Both
# run in turns, so that what else the machine does meanwhile disturbs both alike.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

revision=$1 count=$2 benchstat=$3
run=$PWD/test/bench/run.sh
work=$(mktemp -d)
trap 'git worktree remove --force "$work/base" 2>/dev/null || true; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/base" "$revision"
if [ ! -d "$work/base/test/bench" ]; then
	first=$(git log --reverse --format=%h -- test/bench | sed -n 1p)
	echo "$revision has no benchmarks in test/bench: set BASE to $first, which has the first ones, or to a later revision" >&2
	exit 1
fi
for turn in $(seq "$count"); do
	echo "turn $turn of $count" >&2
	(cd "$work/base" && "$run" >> "$work/base.txt")
	"$run" >> "$work/this.txt"
done
# What run.sh says of a run differs between both, and would part them into tables of their own.
go run "$benchstat" -ignore go,revision,when "base=$work/base.txt" "this=$work/this.txt"
