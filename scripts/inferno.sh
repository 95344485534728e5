#!/usr/bin/env bash
# Installs inferno, which draws flame graphs, once into .sluice/inferno.
#
# Only `make profile` needs it. A second run installs nothing and works offline.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=0.12.8
if [ "$(.sluice/inferno/bin/inferno-flamegraph --version 2>/dev/null)" != "inferno-flamegraph $version" ]; then
    echo "inferno: installing inferno $version into .sluice/" >&2
    mkdir -p .sluice
    cargo install --quiet --locked --root .sluice/inferno --version "=$version" inferno
fi
printf '%-13s %-8s %s\n' inferno "$version" .sluice/inferno/bin
