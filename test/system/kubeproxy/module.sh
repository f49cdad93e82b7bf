# SPDX-License-Identifier: Apache-2.0
#
# To be sourced. k8s.io/kubernetes is not meant to be a dependency, and needs its staging modules replaced by their
# published versions: v1.X.Y of the one stands beside v0.X.Y of the others. The checksum database vouches for all of them.

# module NAME VERSION writes a go.mod, in this folder, of a module that needs k8s.io/kubernetes of that version, and sets
# source to the folder with its code.
module() {
	local version=$2 staging=v0.${2#v1.} answer
	go mod init "$1" 2>/dev/null
	go mod edit -require "k8s.io/kubernetes@$version"
	if ! answer=$(go mod download -json "k8s.io/kubernetes@$version"); then
		echo "kube-proxy: the Go module k8s.io/kubernetes $version cannot be had: $(sed -n 's/^\t"Error": "\(.*\)",\?$/\1/p' <<<"$answer" | sed 's/\\[nt]/ /g; s/\\u003e/>/g')" >&2
		return 1
	fi
	source=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$answer")
	sed -n 's/^\t\(k8s.io\/[a-z-]*\) => .\/staging.*/\1/p' "$source/go.mod" | while read -r module; do
		echo "-replace=$module=$module@$(published "$module" "$staging")"
	done | xargs go mod edit
}

# The version of a staging module that stands beside ours. Proxies do not serve every patch of every module: then it is the
# nearest earlier one, or else the nearest later one. What differs between them is said, so that one can see whether
# kube-proxy uses the module: it does not use the samples, of which this is mostly so.
published() {
	local staging=$2 wanted=${2##*.} patch
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
