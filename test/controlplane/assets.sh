#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the folder that holds kube-apiserver and etcd for $GOOS, and makes sure that it does. See README.md.
set -euo pipefail

kubernetes_version=1.37.2
setup_envtest=sigs.k8s.io/controller-runtime/tools/setup-envtest@v0.25.1

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HNSGUARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hnsguard}

say() { echo "controlplane: $*" >&2; }

os=$(go env GOOS) suffix=$(go env GOEXE)
if [ "$os" = "$(go env GOHOSTOS)" ] && [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
	echo "$KUBEBUILDER_ASSETS"
	exit
fi

built=$cache/controlplane/$kubernetes_version-$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-12)
[ "$os" = "$(go env GOHOSTOS)" ] || built+=-$os
mkdir -p "$cache/controlplane"
# Another run may be building it.
exec 9>"$built.lock"
flock 9
if [ -x "$built/kube-apiserver$suffix" ] && [ -x "$built/etcd$suffix" ]; then
	echo "$built"
	exit
fi

say "asking setup-envtest for Kubernetes ${kubernetes_version%.*}"
if assets=$(GOOS='' timeout 120 go run "$setup_envtest" use --os "$os" "${kubernetes_version%.*}.x" --bin-dir "$cache/envtest" -p path 2>&1); then
	echo "$assets"
	exit
fi

say "no download (${assets##*$'\n'})"
say " building Kubernetes $kubernetes_version and etcd from their modules, once, in about five minutes"
partial=$(mktemp -d "$cache/controlplane/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
stamp=k8s.io/component-base/version
ldflags="-s -w -X $stamp.gitVersion=v$kubernetes_version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(echo "$kubernetes_version" | cut -d. -f2)"
cd "$here"
# Not "tool": its binaries would not bear a version, and kube-apiserver behaves by it.
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$partial/kube-apiserver$suffix" k8s.io/kubernetes/cmd/kube-apiserver
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$partial/etcd$suffix" go.etcd.io/etcd/server/v3
rm -rf "$built"
mv "$partial" "$built"
trap - EXIT
echo "$built"
