#!/usr/bin/env bash
# Compares the training step of the wasm program in Deno with the native one on
# the same adapter: both measured in turn ROUNDS times (default 3), the fastest
# of each counts. Prints the ratio of their rates and the host's cost of a
# dispatch, and fails below 0.9 of the native rate or above 0.5 µs.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$root"
deno=wasm/node_modules/deno/deno
for built in bin/wgjepa build/wasm/command.wasm "$deno"; do
	[ -e "$built" ] || {
		echo "there is no $built: make build wasm" >&2
		exit 1
	}
done
export NODEVICE_SELECT=1 DENO_NO_UPDATE_CHECK=1
args=(bench --only step --seconds "${SECONDS_EACH:-1}" --json ${ADAPTER:+--adapter "$ADAPTER"})
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
for _ in $(seq "${ROUNDS:-3}"); do
	bin/wgjepa "${args[@]}" 2>/dev/null | sed 's/^/native /' >>"$rows"
	"$deno" run --no-prompt --deny-net --allow-read wasm/edge.ts "${args[@]}" 2>/dev/null | sed 's/^/wasm /' >>"$rows"
done
awk '
function field(name) { return match($0, "\"" name "\":[^,}]*") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) : "" }
function least(key, v) { if (v != "" && (!(key in best) || v + 0 < best[key])) best[key] = v + 0 }
$2 ~ /^\{"op":"step"/ {
	least($1, field("seconds"))
	least($1 " first", field("seconds_to_first_step"))
	n = field("dispatches") + 0
	if (n > 0) least($1 " dispatch", field("seconds_of_replay") / n)
	device[$1] = field("device")
}
END {
	if (!("native" in best) || !("wasm" in best)) { print "no step was measured" > "/dev/stderr"; exit 1 }
	if (device["native"] != device["wasm"]) print "two adapters: " device["native"] " natively, " device["wasm"] " in Deno"
	ratio = best["native"] / best["wasm"]
	printf "step: native %.1f ms, wasm %.1f ms, rate of wasm %.2f of the native one (aim: 0.9)\n", 1e3 * best["native"], 1e3 * best["wasm"], ratio
	printf "first step from an open device: native %.2f s, wasm %.2f s\n", best["native first"], best["wasm first"]
	printf "host: %.3f µs a dispatch in the replay (aim: 0.5)\n", 1e6 * best["wasm dispatch"]
	exit ratio < 0.9 || best["wasm dispatch"] > 0.5e-6
}' "$rows"
