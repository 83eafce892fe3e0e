# shellcheck shell=bash
# Sourced by the other scripts: puts a fitting Go on the PATH.
#
# go.mod names the version. A Go that is older but knows the toolchain
# mechanism (1.21 and later) fetches exactly that version through the module
# proxy, checked against Go's checksum database.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
go_wanted=$(sed -n 's/^go //p' "$root/go.mod")
go_oldest=1.21

# at_least HAVE NEEDED compares version numbers.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# version_of GO prints the version of that go command itself, such as 1.24.4.
version_of() { (cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) | sed -n 's/^go\([0-9.]*\).*/\1/p'; }

# find_go sets go_found and go_version: the first Go that is new enough, else
# one that can fetch the toolchain, else nothing.
find_go() {
	go_found='' go_version=''
	local go version
	for go in "$(command -v go || true)" /usr/local/go/bin/go "$root/build/go/bin/go" /usr/lib/go/bin/go /usr/lib/go-*/bin/go; do
		[ -x "$go" ] || continue
		version=$(version_of "$go")
		[ -n "$version" ] || continue
		if at_least "$version" "$go_wanted"; then
			go_found=$go go_version=$version
			return
		fi
		if [ -z "$go_found" ] && at_least "$version" "$go_oldest"; then
			go_found=$go go_version=$version
		fi
	done
}

# use_go puts it first on the PATH, and chooses the toolchain where it must.
use_go() {
	find_go
	[ -n "$go_found" ] || return 1
	PATH=$(dirname "$go_found"):$PATH
	export PATH
	if ! at_least "$go_version" "$go_wanted"; then
		# Debian's packages default to GOTOOLCHAIN=local, so say it.
		export GOTOOLCHAIN=go$go_wanted
	fi
}

# need_go is use_go for the scripts that cannot go on without.
need_go() {
	use_go || {
		echo "no Go found that can build the project (go.mod asks for $go_wanted): run scripts/setup.sh" >&2
		exit 1
	}
}
