#!/usr/bin/env bash
# gofmt, go vet and staticcheck over everything, natively and for the browser.
# The version of staticcheck is pinned in tools/go.mod.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"

unformatted=$(find . \( -path ./build -o -name node_modules \) -prune -o -name '*.go' -print0 | xargs -0 gofmt -l)
if [ -n "$unformatted" ]; then
	echo "gofmt -w these files:" >&2
	echo "$unformatted" >&2
	exit 1
fi

(cd tools && go build -o ../build/staticcheck honnef.co/go/tools/cmd/staticcheck)

echo "lint: native"
go vet ./...
build/staticcheck ./...

echo "lint: tools"
(cd tools && go vet ./... && ../build/staticcheck ./...)

# Everything also builds for the browser, or for runtimes of JavaScript on servers.
export GOOS=js GOARCH=wasm
mapfile -t portable < <(go list -f '{{if or .GoFiles .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
echo "lint: js/wasm, ${#portable[@]} packages"
go vet "${portable[@]}"
build/staticcheck "${portable[@]}"
go vet -tags checks ./wasm
build/staticcheck -tags checks ./wasm
