#!/usr/bin/env bash
# The page in Chromium, all of it: the kernel suite and the golden cases on
# SwiftShader, and every story of the page's users. Pictures of its main states
# go to build/screenshots. Further arguments go to go test: -run TestReload
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
scripts/build.sh
scripts/page.sh
go test -count=1 -v -timeout 40m "$@" ./www
