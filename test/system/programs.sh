#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Puts everything that the system test needs into a folder, with hnsguard's own programs from another:
#
#   programs.sh FOLDER bin "v1.32.3 v1.37.2"
#
# With GOOS=windows, kube-apiserver and etcd are Windows programs, and the test itself is one of the programs. Everything
# slow is built once and cached.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1
assets=$("$here/../controlplane/assets.sh")
rm -rf "$folder"
mkdir -p "$folder"
cp "$2/hnsguard.exe" "$2/hnsguard-verify.exe" "$folder"
for program in etcd kube-apiserver; do
	cp "$assets/$program$(go env GOEXE)" "$folder"
done
for version in $3; do
	built=$("$here/kubeproxy/build.sh" "$version")
	mkdir -p "$folder/kube-proxy/$version"
	cp "$built" "$folder/kube-proxy/$version"
done
"$HNSGUARD_HELM" template hnsguard "$here/../../charts/hnsguard" --namespace hnsguard-system --no-hooks \
	--set config.eviction.mode=enforce,config.reprogram.mode=enforce >"$folder/chart.yaml"
if [ "$(go env GOOS)" = windows ]; then
	CGO_ENABLED=0 go test -c -o "$folder/system.test.exe" "$here"
fi
