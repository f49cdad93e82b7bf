#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the benchmarks of the checkout in the current folder, COUNT times, in a few minutes each time.
set -euo pipefail

about=$(realpath "$(dirname "${BASH_SOURCE[0]}")/about.sh")
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go test -c -o "$program" ./test/bench
cd test/bench
"$about"
for _ in $(seq "${COUNT:-1}"); do
	# The first ones take seconds each, and play a million addresses or ten minutes.
	"$program" -test.run '^$' -test.bench 'Memory|Calls|Quiet|Long' -test.benchtime 1x
	"$program" -test.run '^$' -test.bench 'Ingest' -test.benchtime 5x
	"$program" -test.run '^$' -test.bench 'Update|View|NewAddresses|Decide|Deadline' -test.benchtime 100x
	"$program" -test.run '^$' -test.bench 'Reaction' -test.benchtime 100x
done
