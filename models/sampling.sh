#!/usr/bin/env bash
# Compares sampling settings of a model: how likely its texts are to 5-grams trained on the same texts, and how varied.
# Prints the table of README.md beside this script.
#
#   models/sampling.sh MODEL RECIPE [TEXTS]
#   models/sampling.sh tales my-books.toml 48
#
# MODEL is a folder or the name of a built-in model; RECIPE names its training texts in `data.train`. Each setting writes
# TEXTS texts (48 where nothing is said) of 128 tokens, eight for each of six beginnings, with seeds from 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
model=${1:?model} recipe=${2:?recipe} texts=${3:-48}

cargo build --release --quiet -p aquatint-cli -p aquatint-baselines
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
tokenizer=models/tales/tokenizer.json
if [ -f "$model/tokenizer.json" ]; then tokenizer=$model/tokenizer.json; fi
beginnings=("Once upon a time" "The old king" "\"Come here,\" said the" "In a little village by the sea" "One winter morning" "The fox and the")

# Name and flags of each setting. A pass of the first group reads the whole canvas, one of the second its block.
settings() {
    local shape="--temperature 0.6 --top-p 0.9 --repetition-penalty 1.2"
    echo "confidence, 16 in 16 steps | --policy confidence --block-length 16 --steps 16 --cache none $shape"
    echo "confidence, 16 in 5 steps | --policy confidence --block-length 16 --steps 5 --cache none $shape"
    echo "threshold 0.5, 16 | --policy threshold:0.5 --block-length 16 --steps 16 --cache none $shape"
    echo "ancestral, 128 in 42 steps | --policy ancestral --block-length 128 --steps 42 --cache none $shape"
    echo "entropy bound 0.3, 16 | --policy entropy-bound:0.3 --block-length 16 --steps 16 --cache none $shape"
    echo "confidence, 16, dual | --policy confidence --block-length 16 --steps 16 --cache dual $shape"
    echo "margin, 16, dual | --policy margin --block-length 16 --steps 16 --cache dual $shape"
    echo "ancestral, 16, dual | --policy ancestral --block-length 16 --steps 16 --cache dual $shape"
    echo "entropy bound 0.3, 8, dual | --policy entropy-bound:0.3 --block-length 8 --steps 8 --cache dual $shape"
    echo "entropy bound 0.3, 16, dual | --policy entropy-bound:0.3 --block-length 16 --steps 16 --cache dual $shape"
    echo "entropy bound 0.3, 32, dual | --policy entropy-bound:0.3 --block-length 32 --steps 32 --cache dual $shape"
    shape="--temperature 0.5 --top-p 0.9 --repetition-penalty"
    echo "entropy bound 0.3, 16, dual, temperature 0.5 | --policy entropy-bound:0.3 --block-length 16 --steps 16 --cache dual $shape 1.2"
    echo "entropy bound 0.3, 8, dual, temperature 0.5, penalty 1.3 | --policy entropy-bound:0.3 --block-length 8 --steps 8 --cache dual $shape 1.3"
}

files=()
while IFS='|' read -r name flags; do
    file="$out/${name% }.jsonl"
    files+=("$file")
    for ((text = 0; text < texts; text++)); do
        # Flags are words, and none has a blank in it.
        # shellcheck disable=SC2086
        target/release/aquatint generate "${beginnings[text % 6]}" --model "$model" --seed "$text" --max-tokens 128 \
            --format json --quiet $flags >>"$file"
    done
done < <(settings | sed 's/ *| */|/')
target/release/aquatint-baselines judge "$recipe" 5 "$tokenizer" "${files[@]}"
