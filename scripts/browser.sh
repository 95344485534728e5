#!/usr/bin/env bash
# Finds the Chromium that the dashboard's tests drive, or installs Debian's.
#
# Order: SLUICE_BROWSER, PATH, apt-get install where this is root on Debian.
set -euo pipefail

give_up() {
    printf 'browser: %s\n' "$1" >&2
    printf 'browser: install Chromium (apt-get install chromium), or name a browser with SLUICE_BROWSER\n' >&2
    exit 2
}

if [ -n "${SLUICE_BROWSER:-}" ]; then
    [ -x "$SLUICE_BROWSER" ] || give_up "SLUICE_BROWSER names $SLUICE_BROWSER, which cannot be run"
    exit 0
fi
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then
        printf '%-13s %s\n' browser "$(command -v "$name")"
        exit 0
    fi
done
command -v apt-get >/dev/null || give_up "no Chromium on PATH, and no apt-get to install it with"
[ "$(id -u)" = 0 ] || give_up "no Chromium on PATH, and only root can install it"
echo "browser: installing Debian's chromium" >&2
{ apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q --yes --no-install-recommends install chromium; } >/dev/null \
    || give_up "Chromium could not be installed"
