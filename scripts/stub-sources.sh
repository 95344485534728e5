#!/usr/bin/env bash
# Makes sources that do nothing beside each manifest of the workspace, where there are none: so the Dockerfile builds all
# crates that others have written before it knows any of ours.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
for manifest in */Cargo.toml loadgen/*/Cargo.toml; do
    package=${manifest%/Cargo.toml}
    [ ! -d "$package/src" ] || continue
    mkdir -p "$package/src"
    touch "$package/src/lib.rs"
    echo 'fn main() {}' >"$package/src/main.rs"
    # A bench that a manifest names must be there.
    for bench in $(sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/\1/p' "$manifest"); do
        mkdir -p "$package/benches"
        echo 'fn main() {}' >"$package/benches/$bench.rs"
    done
done
