# Part of run.sh: trains a model for a given time, and brings it back in parts.
RECIPE=$(readlink -f "$1")
SECS=${SECS:-400} PROBE=${PROBE:-20} SET=${SET:-} MODEL=$RUNS/model

CHILD=
finish() { # What there is comes back, also when time runs out.
    [ -n "$CHILD" ] && kill -INT "$CHILD" 2>/dev/null && wait "$CHILD"
    cp "$RUNS/probe/metrics.jsonl" "$LOG/probe.jsonl" 2>/dev/null
    $PY "$HERE/parts.py" split "$MODEL" "$OUT" "$LOG"
    say "== done in ${SECONDS}s"
    exec 1>&- 2>&-
    sleep 0.5 # for tee
}
trap finish EXIT
trap 'exit 143' TERM INT

# Recipes name the data of a bundle as `bundle/FILE`.
mkdir -p "$WHERE/train" && cd "$WHERE/train" || exit 2
for entry in models data recipes; do ln -sfn "$CHECKOUT/$entry" "$entry"; done
ln -sfn "$BUNDLE/data" bundle

minutes() { $PY -c "print(($1) / 60)"; }
# shellcheck disable=SC2086
train() { ours "$BIN/aquatint" train "$RECIPE" --device $DEVICE $SET --set data.cache="$WHERE/tokens" "$@"; }

train --set run.max_minutes="$(minutes "$PROBE")" --set run.log_every=5 --set run.validate_canvases=2 \
    --out "$RUNS/probe" >"$LOG/probe.log" 2>&1
say "-- probe: rc=$?, now ${SECONDS}s"
grep -E '^(corpus|network|done|time is|error)' "$LOG/probe.log"
STEPS=$($PY "$HERE/table.py" steps "$RUNS/probe/metrics.jsonl" "$SECS") || exit 4
say "-- $STEPS steps in $SECS s"
train --set run.steps="$STEPS" --set run.validate_every=$((STEPS / 6 + 1)) --set run.log_every=$((STEPS / 200 + 1)) \
    --set run.max_minutes="$(minutes "$SECS + 12")" --out "$MODEL" >"$LOG/train.log" 2>&1 &
CHILD=$!
wait $CHILD
rc=$?
CHILD=
say "-- training: rc=$rc, now ${SECONDS}s"
grep -E '^step.*held out|^done|^time is|^error' "$LOG/train.log" | tail -9
for seed in 1 2 3; do
    ours timeout 20 "$BIN/aquatint" generate 'Once upon a time' --model "$MODEL" --seed $seed --max-tokens 120 \
        --device $DEVICE 2>&1 | tail -2
done
