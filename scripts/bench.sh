#!/usr/bin/env bash
# Measures kernels and a whole step on the adapter that ADAPTER names (default:
# the first).
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$root"
bin/wgjepa bench ${ADAPTER:+--adapter "$ADAPTER"} "$@"
