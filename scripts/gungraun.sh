#!/usr/bin/env bash
# Installs gungraun's runner once into .sluice/gungraun, in the version that Cargo.lock has of the library.
#
# Only `make gate` needs it. A second run installs nothing and works offline.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
runner=.sluice/gungraun/bin/gungraun-runner
if [ "$("$runner" --version 2>/dev/null)" != "gungraun-runner $version" ]; then
    echo "gungraun: installing gungraun-runner $version into .sluice/" >&2
    mkdir -p .sluice
    if ! cargo install --quiet --locked --root .sluice/gungraun --version "=$version" gungraun-runner; then
        echo "gungraun: no runner: make gate does not count instructions and allocations without it" >&2
        exit 0
    fi
fi
printf '%-13s %-8s %s\n' gungraun "$version" "$runner"
