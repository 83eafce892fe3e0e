#!/usr/bin/env bash
# Everything that says whether the project is right, in one go:
#   lint, all tests on the first GPU interface (a software one where there is no GPU),
#   the wasm program in Deno, a short story of the page in Chromium (test-browser.sh has all),
#   the kernel suite over the other native bindings,
#   the race detector where goroutines meet, and a short run of every fuzz target.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
step() { printf '\n== %s (%d s)\n' "$*" $SECONDS; }

step "adapters"
# -count=1 here and below: what the machine's driver does is not in Go's test cache.
go test -count=1 -v -run '^TestAdapters$' ./gpu
for folder in "${JEPA_TEST_DATA:-../shared/data}" "${JEPA_TEST_GOLDEN:-../shared/golden}"; do
	if [ -d "$folder" ]; then
		echo "test data: $folder"
	else
		echo "test data: $folder is absent, the tests that need it skip"
	fi
done

step "lint"
scripts/lint.sh

step "the wasm program and the page"
if command -v npm >/dev/null; then
	scripts/wasm.sh --deno
	scripts/page.sh
else
	echo "npm is not installed (scripts/setup.sh --tests does): the tests that need Deno or the page skip"
fi

step "tests"
# The page's tests have the machine to themselves: they wait for a browser.
mapfile -t packages < <(go list ./... | grep -v '^wgjepa/www$')
go test -count=1 -timeout 15m "${packages[@]}"

step "the page in Chromium"
go test -count=1 -short -v -timeout 10m ./www | grep -v '^=== '

step "tools"
go test -C tools -count=1 ./...

step "bindings"
scripts/test-bindings.sh

step "race detector"
go test -race -short -timeout 5m ./data ./internal/ref

step "fuzz"
FUZZTIME=${FUZZTIME:-2000x} scripts/fuzz.sh

step "all passed"
