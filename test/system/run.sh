#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the system test with the given versions of kube-proxy, and the programs in a folder:
#
#   run.sh bin "v1.32.3 v1.37.2" [ARGUMENT OF THE TEST ...]
#
# With GOOS=windows, there is also all that TestOnWindows needs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HNSGUARD_PROGRAMS=$(realpath "$1")/system-$(go env GOOS)
"$here/programs.sh" "$HNSGUARD_PROGRAMS" "$1" "$2"
shift 2
HNSGUARD_SYSTEM_PREFIX=$("$here/prefix.sh")
export HNSGUARD_PROGRAMS HNSGUARD_SYSTEM_PREFIX
unset GOOS
# In the folder of the package, go test prints the outcomes as they come.
cd "$here"
# Scenarios mostly wait, so more of them run in parallel than there are processors.
exec go test -count=1 -parallel 16 -timeout 3h "$@"
