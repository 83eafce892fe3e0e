#!/usr/bin/env bash
# Every figure of the wasm program beside the native one, on a machine that does
# nothing else meanwhile: the step in Deno and natively, a transformer block in
# Chromium beside other programs, the time to the first step of a page, and
# matrix products in Chromium and natively. Fails where one misses its aim.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failed=0
step() {
	printf '\n== %s\n' "$1"
	shift
	"$@" || failed=1
}
step "the step in Deno and natively" scripts/bench-wasm.sh
step "a transformer block in Chromium" scripts/peers.sh peers
step "from opening a page to the first step" scripts/peers.sh start
only=matmul,matmul_nt,matmul_tn,linear,attention,block,step
step "in Chromium" scripts/peers.sh bench --only "$only"
step "natively" bin/wgjepa bench --only "$only"
exit "$failed"
