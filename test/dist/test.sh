#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks that each archive of a release names every module that its program says it is linked from, with a licence.
# Installs the kubectl plugin from an archive with the real krew, which verifies the checksum, and runs it.
#
# usage: test.sh FOLDER VERSION KREW KUBECTL
set -euo pipefail
folder=$(realpath "$1") version=$2 krew=$3 kubectl=$4
fail() { echo "test/dist: $*" >&2; exit 1; }

(cd "$folder" && sha256sum --check --quiet SHA256SUMS)

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

for archive in "$folder"/*.tar.gz; do
	rm -rf "$temp/content"
	mkdir "$temp/content"
	tar --extract --gzip --file "$archive" --directory "$temp/content"
	[[ -s $temp/content/LICENSE ]] || fail "$archive does not contain hnsguard's licence"
	modules=$(go version -m "$temp"/content/hnsguard* | awk '$1 == "dep" { print $2, $3 }')
	(($(wc -l <<<"$modules") > 20)) || fail "the program in $archive does not say what it is made of: $modules"
	while read -r module; do
		grep -q "^$module: .*\(LICENSE\|COPYING\)" "$temp/content/THIRD-PARTY-NOTICES.txt" ||
			fail "$archive has no licence of $module, which is linked into the program"
	done <<<"$modules"
done

export KREW_ROOT=$temp/right
PATH=$KREW_ROOT/bin:$PATH
platform=$(go env GOOS)_$(go env GOARCH)
archive=$folder/hnsguard_$platform.tar.gz
install() { # MANIFEST
	mkdir -p "$KREW_ROOT/bin" "$KREW_ROOT/index" # krew expects the folders of its own installation
	"$krew" install --manifest "$1" --archive "$archive" </dev/null >"$temp/log" 2>&1
}
install "$folder/hnsguard.yaml" || fail "krew cannot install it: $(cat "$temp/log")"

got=$(kubectl-hnsguard version)
[[ $got == *"$version"* ]] || fail "the plugin says it is $got, not $version"
usage=$(kubectl-hnsguard --help)
[[ $usage == *"kubectl hnsguard [command]"* ]] || fail "its usage does not say how to call it: $usage"

# kubectl completes the plugin's command line with what krew has unpacked, once it is in the PATH.
completion=$(find "$KREW_ROOT/store" -name kubectl_complete-hnsguard)
[[ -x $completion ]] || fail "krew has not unpacked the completion"
mkdir "$temp/path"
ln -s "$completion" "$kubectl" "$temp/path"
completed=$(KUBECONFIG=/dev/null PATH=$temp/path:$PATH kubectl __complete hnsguard expl 2>"$temp/log")
[[ $completed == explain* ]] || fail "kubectl does not complete 'hnsguard expl': $completed; $(cat "$temp/log")"

# A checksum that does not fit is an error of the release that users would meet first.
sed 's/sha256: ../sha256: 00/' "$folder/hnsguard.yaml" >"$temp/wrong.yaml"
KREW_ROOT=$temp/wrong
! install "$temp/wrong.yaml" || fail "krew does not verify the checksum"
echo "krew has installed $version, and it runs"
