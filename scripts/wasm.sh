#!/usr/bin/env bash
# Builds build/wasm: wgjepa.wasm for browsers' workers, checks.wasm, which can also
# test and measure itself, and Go's half of the runtime; with --edge, command.wasm, the
# native command for runtimes of JavaScript (wasm/edge.js). Prints the size of
# wgjepa.wasm, and with --what, what is in it.
# With --deno it also installs the pinned Deno into wasm/node_modules, with --node
# WebGPU for Node into wasm/node/node_modules; both bring --edge along.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"

what='' deno='' edge=''
for arg in "$@"; do
	case $arg in
	--what) what=yes ;;
	--deno) deno=yes edge=yes ;;
	--edge) edge=yes ;;
	--node) edge=yes; (cd wasm/node && npm install --no-save --no-audit --no-fund --loglevel=error) ;;
	*)
		echo "usage: scripts/wasm.sh [--deno] [--edge] [--node] [--what]" >&2
		exit 2
		;;
	esac
done

# Not npm ci: it begins by removing a Deno that may be at work.
install_packages() { (cd wasm && npm install --no-save --no-audit --no-fund --loglevel=error); }
[ -z "$deno" ] || install_packages

out=build/wasm
mkdir -p "$out"
rm -f "$out"/{wgjepa,checks}.wasm # go build leaves an old one, already shrunk, as it is
# Functions put into their callers (gcflags -l stops it) make the file an eighth
# larger, and it is no slower without, but for the bit sets of maskgen.
build() { GOOS=js GOARCH=wasm go build -trimpath -gcflags=all=-l -gcflags=wgjepa/maskgen= "$@" ./wasm; }
build -ldflags='-s -w' -o "$out/wgjepa.wasm"
build -ldflags='-s -w' -tags checks -o "$out/checks.wasm"
for file in "$out/wgjepa.wasm" "$out/checks.wasm"; do
	go run ./wasm/internal/shrink "$file"
done
# Not shrunk: on a server its size does not matter, and the replay takes a sixth longer then.
[ -z "$edge" ] || GOOS=js GOARCH=wasm go build -trimpath -ldflags='-s -w' -o "$out/command.wasm" ./native/wgjepa
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" "$out/"

raw=$(wc -c <"$out/wgjepa.wasm")
packed=$(gzip -9 -c "$out/wgjepa.wasm" | wc -c)
awk -v raw="$raw" -v packed="$packed" 'BEGIN {
	printf "%.2f MiB, %.2f MiB gzipped (aims: 4 and 1.1)\n", raw / 1048576, packed / 1048576
}'

if [ -n "$what" ]; then
	build -o "$out/named.wasm"
	go run ./wasm/internal/shrink "$out/named.wasm"
	go run ./wasm/internal/sizes "$out/named.wasm"
	rm "$out/named.wasm"
fi
