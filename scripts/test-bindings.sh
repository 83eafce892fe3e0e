#!/usr/bin/env bash
# The kernel suite over each of the three native bindings of WebGPU. Only one
# links into a binary, so each is a build of its own.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
for tag in default cogentcore rajveermalviya; do
	echo "== binding: $tag"
	go test -count=1 -timeout 10m -tags "$tag" ./gpu/...
done
