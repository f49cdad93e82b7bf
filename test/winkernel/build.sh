#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the program that runs the code of kube-proxy for Windows of a version on Linux, if it is not there yet, and prints
# where it is:
#
#   build.sh v1.32.3
#
# Exits with 3 if this version cannot be had here. See doc.go.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../system/kubeproxy/module.sh"

version=${1:?which version, such as v1.32.3}
case $version in
v1.*.*) ;;
*)
	echo "winkernel: $version is no version such as v1.32.3" >&2
	exit 1
	;;
esac
# What we add is part of the program.
ours=$(cat "$here"/build.sh "$here"/wire/*.go $(find "$here/testdata" -type f | sort) | cat - <(go version) | sha256sum | cut -c1-12)
cache=${HNSGUARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hnsguard}/winkernel/$version
built=$cache/winkernel-$ours
mkdir -p "$cache"
exec 9>"$cache/lock" # another run may be building it
flock 9
if [ -x "$built" ]; then
	echo "$built"
	exit
fi

# The cache folder keeps the go.mod, so that the next change of ours does not have to ask for every module again.
cd "$cache"
if [ ! -f go.mod ]; then
	partial=$(mktemp -d "$cache/partial.XXXXXX")
	trap 'rm -rf "$partial"' EXIT
	(cd "$partial" && module winkernel "$version" && mv go.mod ..) || exit 3
fi
echo "winkernel: building $version, once, in about two minutes" >&2
source=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
library=$(sed -n 's/^\t\(github.com\/Microsoft\/\(hnslib\|hcsshim\)\) .*/\1/p' "$source/go.mod" | head -1)
rm -rf winkernel wire hnslib main.go
cp -r "$here"/testdata/* "$here/wire" .
for file in "$source"/pkg/proxy/winkernel/*.go; do
	case $file in
	*_test.go | */doc.go) ;;
	*) sed '/^\/\/go:build /d;/^\/\/ +build /d' "$file" >"winkernel/$(basename "$file")" ;;
	esac
done
# hcsshim was split in two with 1.32.
find winkernel hnslib -name '*.go' -exec sed -i "s,\"github.com/Microsoft/hnslib\(/hcn\)\?\",\"${library:-hnslib}\1\",;s,^package hnslib,package $(basename "${library:-hnslib}")," {} +
printf 'module %s\n\ngo 1.22\n' "$library" >hnslib/go.mod
go mod edit -replace "$library=./hnslib"

# The order of Go's maps is chance, and kube-proxy goes through maps. Here it depends on the seed of each request, so that
# a history is played the same way every time.
runtime=$(go env GOROOT)/src/runtime/rand.go
sed 's,^\t*seed\[i%len(seed)\] ^= c$,_ = c; seed[i%len(seed)] = 1,;/^func maps_rand() uint64 {$/,/^}$/c\
//go:linkname mapSeed\
var mapSeed uint64\
\
func maps_rand() uint64 {\
	if mapSeed == 0 {\
		return 0\
	}\
	mapSeed += 0x9e3779b97f4a7c15\
	z := mapSeed\
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9\
	z = (z ^ z>>27) * 0x94d049bb133111eb\
	return z ^ z>>31\
}' "$runtime" >rand.go.overlay
for symbol in '^var mapSeed' '= c; seed'; do
	grep -q "$symbol" rand.go.overlay || {
		echo "winkernel: $runtime has no randinit or no maps_rand as they were in Go 1.26; adapt test/winkernel/build.sh" >&2
		exit 1
	}
done
printf '{"Replace": {"%s": "%s"}}' "$runtime" "$PWD/rand.go.overlay" >overlay.json
if ! GOFLAGS=-mod=mod GOOS=linux CGO_ENABLED=0 go build -trimpath -buildvcs=false -overlay overlay.json -ldflags '-s -w' \
	-o "$built.partial" . 2>build.log; then
	echo "winkernel: the sources of $version do not fit: $(grep -m1 '^[a-z./]*\.go:\|^go: ' build.log || head -1 build.log) (all of it: $cache/build.log)" >&2
	exit 1
fi
rm -f "$cache"/winkernel-*[0-9a-f]
mv "$built.partial" "$built"
echo "$built"
