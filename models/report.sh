#!/usr/bin/env bash
# Measures a model and shows ten unselected samples, as Markdown for README.md beside this script.
#
#   models/report.sh MODEL TEXT [PROMPT]
#   models/report.sh tales ../shared/data/stories-valid.jsonl.zst
#
# MODEL is a folder or the name of a built-in model. The samples have the seeds 0 to 9 and the model's own settings;
# none is left out or chosen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
model=${1:?model} text=${2:?text} prompt=${3:-Once upon a time}

cargo build --release --quiet -p aquatint-cli
program=target/release/aquatint

printf '### Description\n\n```text\n'
"$program" show "$model"
printf '```\n\n### Likelihood\n\n```text\n'
"$program" eval likelihood --model "$model" --data "$text" --seed 0 --quiet
printf '```\n\n### Ten samples, seeds 0 to 9, unselected\n\n'
# The words are the prompt's and the model's own: nothing of them may be read as markup.
for seed in 0 1 2 3 4 5 6 7 8 9; do
    printf '**Seed %d**\n\n```text\n' "$seed"
    "$program" generate "$prompt" --model "$model" --seed "$seed" --quiet | fold --spaces --width=110 | sed 's/ *$//'
    printf '```\n\n'
done
