#!/usr/bin/env bash
# Compares a transformer block, forward and backward, with jax-js and
# TensorFlow.js in the same Chromium (see tools/peers). Arguments go to
# tools/peers/peers.ts.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
[ -x wasm/node_modules/deno/deno ] || scripts/wasm.sh --deno
(cd tools/peers && npm ci --no-audit --no-fund --loglevel=error >/dev/null)
out=build/peers
mkdir -p "$out"
GOOS=js GOARCH=wasm go build -trimpath -ldflags='-s -w' -o "$out/block.wasm" ./wasm/internal/block
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" gpu/internal/browser/driver.js "$out/"
DENO_NO_UPDATE_CHECK=1 exec wasm/node_modules/deno/deno run --quiet --no-prompt --no-config -A tools/peers/peers.ts "$@"
