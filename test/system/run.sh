#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Plays the scenarios with the given versions of kube-proxy:
#
#   run.sh hnsguard.exe "v1.32.3 v1.37.2" [ARGUMENT OF THE TEST ...]
#
# Everything slow is built once and cached.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HNSGUARD_EXE=$(realpath "$1")
versions=$2
shift 2

KUBEBUILDER_ASSETS=$("$here/../controlplane/assets.sh")
HNSGUARD_SYSTEM_PREFIX=$("$here/prefix.sh")
HNSGUARD_KUBE_PROXIES=
for version in $versions; do
	HNSGUARD_KUBE_PROXIES+=${HNSGUARD_KUBE_PROXIES:+:}$("$here/kubeproxy/build.sh" "$version")
done
HNSGUARD_VERIFY_EXE=${HNSGUARD_EXE%.exe}-verify.exe
export HNSGUARD_EXE HNSGUARD_VERIFY_EXE KUBEBUILDER_ASSETS HNSGUARD_SYSTEM_PREFIX HNSGUARD_KUBE_PROXIES
# In the folder of the package, go test prints the outcomes as they come.
cd "$here"
# Scenarios mostly wait, so more of them run in parallel than there are processors.
exec go test -count=1 -parallel 16 -timeout 3h "$@"
