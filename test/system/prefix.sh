#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the Wine prefix of the system test, and makes it if it is not there: that of test/wine, with our computenetwork.dll
# and vmcompute.dll in it. Only here: anywhere else hnsguard.exe should find no Host Networking Service.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HNSGUARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hnsguard}
plain=$("$here/../wine/prefix.sh")
prefix=$plain-system-$(cat "$here"/hnsdll/*.[ch] "${BASH_SOURCE[0]}" | sha256sum | cut -c1-12)

if [ ! -e "$prefix/ready" ]; then
	partial=$(mktemp -d "$cache/wine/partial.XXXXXX")
	trap 'rm -rf "$partial"' EXIT
	cp -a "$plain/." "$partial"
	for dll in computenetwork vmcompute; do
		x86_64-w64-mingw32-gcc -Wall -Wextra -Werror -O2 -shared -o "$partial/drive_c/windows/system32/$dll.dll" \
			"$here/hnsdll/$dll.c" -lws2_32 -lole32
	done
	# Wine is a Windows 7 by default, which hnsguard-verify.exe refuses.
	printf '\n[Software\\\\Wine\\\\AppDefaults\\\\hnsguard-verify.exe]\n"Version"="win10"\n' >>"$partial/user.reg"
	rm -rf "$prefix"
	mv "$partial" "$prefix"
	trap - EXIT
fi
echo "$prefix"
