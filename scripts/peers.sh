#!/usr/bin/env bash
# Measures in Chromium (see tools/peers/peers.ts, which takes the arguments): a
# transformer block beside jax-js and TensorFlow.js (peers), the time to the
# first step (start), or the table of `wgjepa bench` (bench).
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
[ -x wasm/node_modules/deno/deno ] || scripts/wasm.sh --deno
if [ tools/peers/package-lock.json -nt tools/peers/node_modules/.package-lock.json ]; then
	(cd tools/peers && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
	touch tools/peers/node_modules/.package-lock.json
fi
out=build/peers
mkdir -p "$out"
export GOOS=js GOARCH=wasm
go build -trimpath -ldflags='-s -w' -o "$out/block.wasm" ./wasm/internal/block
go build -trimpath -ldflags='-s -w' -o "$out/wgjepa.wasm" ./wasm
go build -trimpath -ldflags='-s -w' -tags checks -o "$out/checks.wasm" ./wasm
unset GOOS GOARCH
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" gpu/internal/browser/driver.js "$out/"
DENO_NO_UPDATE_CHECK=1 exec wasm/node_modules/deno/deno run --quiet --no-prompt --no-config -A tools/peers/peers.ts "$@"
