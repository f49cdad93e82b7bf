#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds kube-proxy.exe of a Kubernetes version from its Go module, if it is not there yet, and prints where it is:
#
#   build.sh v1.32.3
#
# A version takes about two minutes, once. k8s.io/kubernetes is not meant to be a dependency, and needs its staging modules
# replaced by their published versions: v1.X.Y of the one stands beside v0.X.Y of the others. The checksum database
# vouches for all of them.
set -euo pipefail

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
staging=v0.${version#v1.}
go mod init kube-proxy 2>/dev/null
go mod edit -require "k8s.io/kubernetes@$version"
source=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
# The version of a staging module that stands beside ours. Proxies do not serve every patch of every module: then it is the
# nearest earlier one, or else the nearest later one. What differs between them is said, so that one can see whether
# kube-proxy uses the module: it does not use the samples, of which this is mostly so.
published() {
	local wanted=${staging##*.} patch
	for patch in $(seq "$wanted" -1 0) $(seq $((wanted + 1)) $((wanted + 10))); do
		if go mod download "$1@${staging%.*}.$patch" 2>/dev/null; then
			[ "$patch" = "$wanted" ] || echo "kube-proxy: $1 $staging is not served, taking ${staging%.*}.$patch" >&2
			echo "${staging%.*}.$patch"
			return
		fi
	done
	echo "kube-proxy: no version of $1 near $staging is served" >&2
	return 1
}
sed -n 's/^\t\(k8s.io\/[a-z-]*\) => .\/staging.*/\1/p' "$source/go.mod" | while read -r module; do
	echo "-replace=$module=$module@$(published "$module")"
done | xargs go mod edit
export GOFLAGS=-mod=mod GOOS=windows GOARCH=amd64 CGO_ENABLED=0
stamp=k8s.io/component-base/version
go build -trimpath -buildvcs=false -ldflags "-s -w -X $stamp.gitVersion=$version" -o kube-proxy.exe k8s.io/kubernetes/cmd/kube-proxy >&2
mkdir -p "$(dirname "$built")"
mv kube-proxy.exe "$built"
echo "$built"
