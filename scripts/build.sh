#!/usr/bin/env bash
# Builds bin/wgjepa. The GPU library is linked in, so the file runs by itself.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
go build -o bin/ ./native/...
