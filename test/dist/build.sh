#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what a release consists of besides image and chart: an archive for each platform, with the licences of all that
# is in the program, their checksums, and the manifest of the kubectl plugin. The same source gives the same archives.
#
# usage: build.sh FOLDER VERSION PLATFORM...   with a build command in BUILD
set -euo pipefail
folder=$1 version=$2
shift 2
rm -rf "$folder"
mkdir -p "$folder"
folder=$(realpath "$folder")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
date=$(git log -1 --format=%cI)
sed "s|VERSION|$version|g" .krew.yaml >"$folder/hnsguard.yaml"
for platform in "$@"; do
	os=${platform%/*} arch=${platform#*/}
	programs=(hnsguard) packages=./cmd/hnsguard
	if [[ $os == windows ]]; then
		programs=(hnsguard.exe hnsguard-verify.exe) packages="./cmd/hnsguard ./cmd/hnsguard-verify"
	fi
	content=$(mktemp -d)
	trap 'rm -rf "$content"' EXIT
	GOOS=$os GOARCH=$arch bash -c "$BUILD -o '$content/' $packages"
	cp LICENSE README.md "$content"
	completion=()
	if [[ $os != windows ]]; then
		completion=(kubectl_complete-hnsguard)
		install -m 755 test/dist/kubectl_complete-hnsguard "$content"
	fi
	go run ./test/dist/notices "$platform" ./cmd/hnsguard >"$content/THIRD-PARTY-NOTICES.txt"
	archive=$folder/hnsguard_${os}_$arch.tar.gz
	tar --create --directory "$content" --sort=name --mtime="$date" --owner=0 --group=0 --numeric-owner \
		--mode=u=rwX,go=rX -- "${programs[@]}" "${completion[@]}" LICENSE README.md THIRD-PARTY-NOTICES.txt | gzip --no-name --best >"$archive"
	rm -rf "$content"
	sum=$(sha256sum "$archive")
	cat >>"$folder/hnsguard.yaml" <<-END
		    - selector: {matchLabels: {os: $os, arch: $arch}}
		      uri: https://github.com/hnsguard/hnsguard/releases/download/$version/${archive##*/}
		      sha256: ${sum%% *}
		      bin: ${programs[0]}
	END
	echo "${archive##*/}"
done
cd "$folder"
sha256sum -- *.tar.gz >SHA256SUMS
