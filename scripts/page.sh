#!/usr/bin/env bash
# Builds build/www: the page, for any static host. It builds build/wasm, installs
# the npm packages of www/package.json (no Node is needed after that), bundles,
# and prints the size of every file.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
scripts/wasm.sh
# npm ci keeps to the lock file and its digests, and starts anew each time.
if [ www/package-lock.json -nt www/node_modules/.package-lock.json ]; then
	command -v npm >/dev/null || {
		echo "npm is needed to install the page's packages (Debian: apt-get install npm)" >&2
		exit 1
	}
	(cd www && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
	touch www/node_modules/.package-lock.json
fi
go run -C tools ./page
