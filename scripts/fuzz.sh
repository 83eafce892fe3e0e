#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (20000x): scripts/fuzz.sh [PACKAGE…]
# A number of executions rather than a time: at the end of a time Go reports an
# input that is still running as a failure. FUZZTIME=10m works where that is known.
# An input that fails is kept in the package's testdata/fuzz and from then on
# is an ordinary test: commit it with the repair.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go
cd "$root"
targets=0
for package in $(go list "${@:-./...}"); do
	folder=$(go list -f '{{.Dir}}' "$package")
	for target in $(cat "$folder"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		echo "fuzz: $package $target"
		targets=$((targets + 1))
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20000x}" -fuzzminimizetime 5s "$package"
	done
done
[ $targets -gt 0 ] || {
	echo "fuzz: no target in ${*:-./...}" >&2
	exit 1
}
echo "fuzz: $targets targets held"
