#!/bin/bash
# Records the cases of tests/simulation/vectors from the original autoscalers. The same sources give the same files.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
vectors=$here/../../tests/simulation/vectors
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

command -v go >/dev/null || { echo "hack/vectors: no go on PATH; install the version that hpa/go.mod names, or a newer one" >&2; exit 1; }
mkdir -p "$vectors"
for program in hpa kpa; do
    [ -f "$here/$program/go.mod" ] || continue
    echo "==> $program"
    (cd "$here/$program" && nice -n 10 go build -p 1 -trimpath -ldflags='-s -w' -o "$work/$program" .)
    "$work/$program" "$vectors"
done
