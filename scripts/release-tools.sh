#!/usr/bin/env bash
# Installs what only `make release` needs once into .sluice/release-tools: cargo-deb and cargo-cyclonedx.
#
# A second run installs nothing and works offline.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
home=.sluice/release-tools
install_tool() {
    if ! grep -qs "^\"$1 $2 " "$home/.crates.toml"; then
        echo "release: installing $1 $2 into .sluice/" >&2
        mkdir -p .sluice
        cargo install --quiet --locked --root "$home" --version "=$2" "$1"
    fi
    printf '%-15s %-8s %s\n' "$1" "$2" "$home/bin/$1"
}
install_tool cargo-deb 3.8.0
install_tool cargo-cyclonedx 0.5.9
