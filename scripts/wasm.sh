#!/usr/bin/env bash
# Builds build/wasm: wgjepa.wasm for browsers and edge runtimes, checks.wasm
# that can also test and measure itself, and Go's half of the runtime. Prints the first one's size, and with --what, what is in it.
# With --deno it also installs the pinned Deno into wasm/node_modules.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"

what='' deno=''
for arg in "$@"; do
	case $arg in
	--what) what=yes ;;
	--deno) deno=yes ;;
	*)
		echo "usage: scripts/wasm.sh [--deno] [--what]" >&2
		exit 2
		;;
	esac
done

if [ -n "$deno" ]; then
	# Not npm ci: the lock file knows only platforms that it was written on. It
	# holds for those; elsewhere package.json names the exact version.
	(cd wasm && npm install --no-save --no-audit --no-fund --loglevel=error)
fi

out=build/wasm
mkdir -p "$out"
rm -f "$out"/*.wasm # go build leaves an old one, already shrunk, as it is
# Functions put into their callers (gcflags -l stops it) make the file an eighth
# larger, and it is no slower without, but for the bit sets of maskgen.
build() { GOOS=js GOARCH=wasm go build -trimpath -gcflags=all=-l -gcflags=wgjepa/maskgen= "$@" ./wasm; }
build -ldflags='-s -w' -o "$out/wgjepa.wasm"
build -ldflags='-s -w' -tags checks -o "$out/checks.wasm"
for file in "$out/wgjepa.wasm" "$out/checks.wasm"; do
	go run ./wasm/internal/shrink "$file"
done
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" "$out/"

raw=$(wc -c <"$out/wgjepa.wasm")
packed=$(gzip -9 -c "$out/wgjepa.wasm" | wc -c)
awk -v raw="$raw" -v packed="$packed" 'BEGIN {
	printf "%.2f MiB, %.2f MiB gzipped (aims: 4 and 1.1)\n", raw / 1048576, packed / 1048576
}'

if [ -n "$what" ]; then
	build -o "$out/named.wasm"
	go run ./wasm/internal/sizes "$out/named.wasm"
	rm "$out/named.wasm"
fi
