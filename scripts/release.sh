#!/usr/bin/env bash
# Makes a release in target/release-files: an archive of the binaries, Debian packages, a list of what is in them
# (CycloneDX), the notes of this version, and the checksums of all. `make release` builds the pages before.
#
# The same sources give the same files, wherever they lie: paths are mapped, instants are the commit's.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"
version=$(sed -nE 's/^version = "(.*)"$/\1/p' Cargo.toml | head -n 1)
triple=$(rustc -vV | sed -n 's/^host: //p')
files=target/release-files
tools=.sluice/release-tools/bin
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

# Where sources, crates and the compiler lie is nobody's business.
crates=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="--remap-path-prefix=$project=/sluice --remap-path-prefix=$crates=/cargo --remap-path-prefix=$(rustc --print sysroot)=/rust"
export CFLAGS="-ffile-prefix-map=$project=/sluice -ffile-prefix-map=$crates=/cargo"
cargo build --locked --profile dist --package service --package loadgen --features service/mongodb-srv

rm -rf "$files"
name=sluice-$version-$triple
folder=$files/$name
mkdir -p "$folder/bin" "$folder/share"
cp target/dist/service target/dist/loadgen "$folder/bin/"
cp README.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT "$folder/"
cp -r scenarios deploy "$folder/share/"
for path in "$project" "$crates" "$HOME/"; do
    if grep -qaF "$path" "$folder"/bin/*; then
        echo "release: a binary names $path, so it is not the same when it is built elsewhere" >&2
        exit 1
    fi
done

# The manual's pages and the completions of the load generator.
mkdir -p target/dist/man target/dist/completions
rm -f target/dist/man/* target/dist/completions/*
target/dist/loadgen man target/dist/man >/dev/null
for shell in bash zsh fish; do
    target/dist/loadgen completions "$shell" >"target/dist/completions/loadgen.$shell"
done
cp -r target/dist/man target/dist/completions "$folder/share/"

tar --create --directory "$files" --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip --no-name --best >"$files/$name.tar.gz"
rm -rf "$folder"

for package in service loadgen; do
    "$tools/cargo-deb" --quiet --no-build --no-strip --profile dist --package "$package" --output "$files/"
done

# What is in them, with the licences. cargo-cyclonedx leaves a list beside the manifest of each member; two are wanted.
lists() { find . -name "$version.cdx.json" -not -path "./target/*" "$@"; }
trap 'lists -delete' EXIT
"$tools/cargo-cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --features mongodb-srv --override-filename "$version.cdx" --manifest-path service/Cargo.toml
for pair in service:service loadgen:loadgen/cli; do
    sed "s|$project|/sluice|g" "${pair#*:}/$version.cdx.json" >"$files/${pair%%:*}-$version.cdx.json"
done
# The binaries are built with a feature that brings crates of its own.
grep -q '"hickory-resolver"' "$files/service-$version.cdx.json" || { echo "release: the list of what is in the service lacks crates" >&2; exit 1; }

# The notes are what CHANGELOG.md says of this version.
awk -v version="$version," '/^## /{found = $2 == version; next} found' CHANGELOG.md >"$files/NOTES.md"
[ -s "$files/NOTES.md" ] || { echo "release: CHANGELOG.md says nothing of $version" >&2; exit 1; }

(cd "$files" && sha256sum -- *.tar.gz *.deb *.cdx.json >SHA256SUMS)
(cd "$files" && ls -l)
