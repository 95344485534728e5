#!/usr/bin/env bash
# fuzz.sh TARGET SECONDS: runs a fuzz target of service/fuzz on the stable compiler, then keeps a small corpus.
#
# The coverage counters are the compiler's own; libFuzzer comes with the crate libfuzzer-sys and needs g++.
# A crash is left in service/fuzz/artifacts and ends this with a failure.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$1
seconds=$2
cd "$project/service/fuzz"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
 -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
triple=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, the flags do not reach build scripts.
cargo build --locked --release --target "$triple" --bin "$target"
fuzzer=target/$triple/release/$target

mkdir -p "artifacts/$target" "target/corpus/$target" "target/small/$target"
"$fuzzer" -max_total_time="$seconds" -max_len=4096 -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target/" "target/corpus/$target" "corpus/$target"

# What adds nothing goes; what is long goes too, for the corpus is kept in git.
rm -rf "target/small/$target"
mkdir -p "target/small/$target"
"$fuzzer" -merge=1 -max_len=1024 "target/small/$target" "corpus/$target" "target/corpus/$target" 2>/dev/null
printf 'fuzz: %s: %s inputs, %s in the small corpus (service/fuzz/target/small/%s)\n' "$target" \
    "$(find "target/corpus/$target" -type f | wc -l)" "$(find "target/small/$target" -type f | wc -l)" "$target"
