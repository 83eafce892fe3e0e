#!/usr/bin/env bash
# The whole story in a few minutes: phantoms, training, probes, pictures.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$root"
bin/wgjepa demo --out "${OUT:-runs/demo}" "$@"
