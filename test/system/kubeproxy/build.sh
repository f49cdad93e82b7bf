#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds kube-proxy.exe of a Kubernetes version from its Go module, if it is not there yet, and prints where it is:
#
#   build.sh v1.32.3
#
# A version takes about two minutes, once.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/module.sh"

version=${1:?which version, such as v1.32.3}
case $version in
v1.*.*) ;;
*)
	echo "kube-proxy: $version is no version such as v1.32.3" >&2
	exit 1
	;;
esac
cache=${HNSGUARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hnsguard}
built=$cache/kube-proxy/$version/kube-proxy.exe
mkdir -p "$cache/kube-proxy"
# Another run may be building it.
exec 9>"$cache/kube-proxy/$version.lock"
flock 9
if [ -x "$built" ]; then
	echo "$built"
	exit
fi

echo "kube-proxy: building $version, once, in about two minutes" >&2
partial=$(mktemp -d "$cache/kube-proxy/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
cd "$partial"
module kube-proxy "$version"
export GOFLAGS=-mod=mod GOOS=windows GOARCH=amd64 CGO_ENABLED=0
stamp=k8s.io/component-base/version
go build -trimpath -buildvcs=false -ldflags "-s -w -X $stamp.gitVersion=$version" -o kube-proxy.exe k8s.io/kubernetes/cmd/kube-proxy >&2
mkdir -p "$(dirname "$built")"
mv kube-proxy.exe "$built"
echo "$built"
