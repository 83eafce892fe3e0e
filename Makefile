# The menu. Each target is one script or one command; scripts/ has the rest.

.PHONY: help demo test test-bindings test-wasm test-browser bench bench-wasm bench-browser lint fuzz build wasm page web setup clean

help: ## This list
	@echo "wgjepa: I-JEPA on images and volumes, computed in WGSL"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \t\2/p' Makefile | expand -t 22

demo: build ## Train on phantoms, compare with an untrained encoder, draw pictures
	@scripts/demo.sh

test: ## Lint, every test, short fuzz runs
	@scripts/setup.sh --tests
	@scripts/test.sh

test-bindings: setup ## The kernel suite over each native WebGPU binding
	@scripts/test-bindings.sh

test-wasm: wasm ## The kernel suite, golden cases and runs through the wasm in Deno
	@scripts/go test -count=1 -timeout 15m ./wasm

test-browser: ## The page in Chromium: kernels, golden cases, every story, pictures of it
	@scripts/setup.sh --tests
	@scripts/test-browser.sh

bench: build ## Speed of kernels and of a whole step (ADAPTER=… chooses)
	@scripts/bench.sh

bench-wasm: build wasm ## The step of the wasm program in Deno beside the native one
	@scripts/bench-wasm.sh

bench-browser: build wasm ## That, and Chromium: other programs, first step, kernels
	@scripts/bench-browser.sh

lint: setup ## gofmt, go vet, staticcheck, natively and for js/wasm
	@scripts/lint.sh

fuzz: setup ## Every fuzz target for FUZZTIME=20000x
	@scripts/fuzz.sh

build: setup ## Build bin/wgjepa
	@scripts/build.sh

wasm: setup ## Build build/wasm/wgjepa.wasm, and install Deno (by npm) to run it
	@scripts/wasm.sh --deno

page: setup ## Build build/www: the page, for any static host (npm installs what it bundles)
	@scripts/page.sh

web: build ## Build the page and serve it on localhost
	@scripts/page.sh
	@bin/wgjepa web

setup: ## Install what is missing: compiler, Vulkan, Go
	@scripts/setup.sh

clean: ## Remove what was built; runs/ stays
	rm -rf bin build
