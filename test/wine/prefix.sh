#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Creates the Wine prefix if it does not exist, and prints its path. Needs Debian's wine64 and gcc-mingw-w64-x86-64.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HNSGUARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hnsguard}
# The name depends on all inputs: a change creates a new prefix.
prefix=$cache/wine/$(cat "$here/bcryptprimitives.c" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-12)

mkdir -p "$cache/wine"
# go test starts several programs at once.
exec 9>"$prefix.lock"
flock 9
if [ ! -e "$prefix/ready" ]; then
	for tool in /usr/lib/wine/wine64 x86_64-w64-mingw32-gcc; do
		command -v "$tool" >/dev/null || {
			echo "wine: $tool is missing; install wine64 and gcc-mingw-w64-x86-64 (make wine-packages)" >&2
			exit 1
		}
	done
	echo "wine: creating the prefix" >&2
	partial=$(mktemp -d "$cache/wine/partial.XXXXXX")
	trap 'rm -rf "$partial"' EXIT
	WINEPREFIX=$partial WINEDEBUG=-all DISPLAY='' /usr/lib/wine/wine64 wineboot --init >/dev/null 2>&1 9>&-
	WINEPREFIX=$partial /usr/lib/wine/wineserver64 --wait
	x86_64-w64-mingw32-gcc -Wall -Werror -O2 -shared -o "$partial/drive_c/windows/system32/bcryptprimitives.dll" \
		"$here/bcryptprimitives.c" -ladvapi32
	touch "$partial/ready"
	rm -rf "$prefix"
	mv "$partial" "$prefix"
	trap - EXIT
fi
echo "$prefix"
