#!/usr/bin/env bash
# Looks at what is deployed: the Dockerfile by hadolint, and against the workspace; the systemd unit by systemd-analyze,
# where that is there.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
.sluice/venv/bin/hadolint Dockerfile

# A member that is missing there would break the layer of others' crates.
members=$(sed -n '/^members = \[/,/^\]/s/^ *"\(.*\)",$/\1/p' Cargo.toml)
for member in $members; do
    grep -qxF "COPY $member/Cargo.toml $member/" Dockerfile || { echo "Dockerfile: the layer of others' crates lacks $member/Cargo.toml" >&2; exit 1; }
done

if command -v systemd-analyze >/dev/null; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    # The binary that it names is not here: only its package brings it.
    sed 's|^ExecStart=/usr/bin/sluice-service|ExecStart=/bin/true|' deploy/systemd/sluice.service >"$folder/sluice.service"
    # A value that it does not know it ignores, and says so.
    if systemd-analyze verify --man=no "$folder/sluice.service" 2>&1 | grep -F sluice.service; then exit 1; fi
    # 0 is shut off from everything, 10 from nothing. The network stays open to it: that is 0.5 of what is left.
    systemd-analyze security --offline=true --threshold=15 "$folder/sluice.service" >"$folder/log" || { cat "$folder/log"; exit 1; }
fi
