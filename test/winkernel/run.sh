#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a command with the programs of the given versions of kube-proxy, built once and cached:
#
#   run.sh "v1.32.3 v1.37.2" COMMAND ...
#
# A version that cannot be had here is left out.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HNSGUARD_WINKERNEL=
for version in $1; do
	built=$("$here/build.sh" "$version") || {
		[ $? = 3 ] || exit 1
		echo "winkernel: $version is left out" >&2
		continue
	}
	HNSGUARD_WINKERNEL+=${HNSGUARD_WINKERNEL:+:}$built
done
[ "$HNSGUARD_WINKERNEL" ] || {
	echo "winkernel: none of \"$1\" can be had here" >&2
	exit 1
}
export HNSGUARD_WINKERNEL
exec "${@:2}"
