#!/usr/bin/env bash
# What a model has to beat, as a Markdown table: compressors on the held-out text of a recipe, and n-grams of order 5
# that were trained on its training text.
#
#   baselines/run.sh recipes/tales.toml models/tales/tokenizer.json
#
# Needs zstd and xz; takes some minutes and up to 8 GB of memory. Compressors see the held-out documents joined by line
# feeds and nothing else, so they have to learn the language from it; the n-grams know the training text and pay for an
# end symbol behind each document too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
recipe=${1:?recipe} tokenizer=${2:?tokenizer.json}

cargo build --release --quiet -p aquatint-baselines
program=target/release/aquatint-baselines
text=$(mktemp)
trap 'rm -f "$text"' EXIT
"$program" text "$recipe" >"$text"
bytes=$(wc -c <"$text")

compress() {
    local size
    size=$("$@" --stdout <"$text" | wc -c)
    awk -v name="$*" -v size="$size" -v bytes="$bytes" \
        'BEGIN { printf "| `%s` | %.4f | %d bytes of %d |\n", name, 8 * size / bytes, size, bytes }'
}

printf '| baseline | bits per byte | of what |\n|---|---|---|\n'
compress zstd -19 --ultra
compress zstd -22 --ultra
compress xz -9e
"$program" n-grams "$recipe" 5
"$program" n-grams "$recipe" 5 "$tokenizer"
