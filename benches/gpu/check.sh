# Part of run.sh: is the CUDA device right, and how fast is it?
LIMIT=${LIMIT:-300} TESTS=${TESTS:-125} JOBS=${JOBS:-10} CASES=$WHERE/cases
rm -rf "$CASES"
mkdir -p "$CASES"

BACKGROUND=()
finish() {
    for process in ${BACKGROUND[@]+"${BACKGROUND[@]}"}; do kill "$process" 2>/dev/null; done
    tar -C "$WHERE" --exclude="*/*/*" -czf "$OUT/logs.tar.gz" "$(basename "$LOG")" cases
    exec 1>&- 2>&-
    sleep 0.5 # for tee
}
trap finish EXIT
trap 'exit 143' TERM INT

# ---- what runs where
profiled() { LD_LIBRARY_PATH=$OURS:$(dirname "$CUPTI") CUDA_INJECTION64_PATH=$WHERE/libprofile.so "$@"; }
bench() { ours "$BIN/aquatint" bench --device $DEVICE --precision bf16 --format json "$@"; }
shape() { # NETWORK FLAGS...
    local network=$1
    shift
    bench --config "benches/networks/$network.json" "$@"
}
# shellcheck disable=SC2086
training() { ours "$BIN/aquatint" train "$HERE/speed.toml" --device $DEVICE $SMALL --out "$RUNS/$1" "${@:2}"; }
peer() { # SCRIPT NETWORK PRECISION BATCH LENGTH REPEAT
    local compile=--compile
    [ "$DRY" = 1 ] && compile=
    LD_LIBRARY_PATH=$THEIRS $PY "benches/peers/$1.py" --device $DEVICE $compile --threads 4 --network "$2" \
        --precision "$3" --batch "$4" --length "$5" --repeat "$6"
}
export -f profiled bench shape training peer

TRAIN_150M="shape-150m --train --batch 16 --length 1024" TRAIN_60M="shape-60m --train --batch 32 --length 1024"
TRAIN_1B="shape-1b --train --batch 4 --length 1024" CANVAS="--batch 1 --length 256 --generate 192 --steps 64"
FORWARD_150M="shape-150m --batch 16 --length 1024 --rows 16" FORWARD_256="shape-150m --batch 1 --length 256"
FORWARD_8B="shape-8b --batch 1 --length 256"
PEERS=(
    "train-150m train_step shape-150m bf16-autocast 16 1024"
    "train-60m train_step shape-60m bf16-autocast 32 1024"
    "forward-150m forward shape-150m bf16 16 1024"
)
REPEAT=10
if [ "$DRY" = 1 ]; then # the smallest that there is, on the processor
    TRAIN_150M="llada-31m --train --batch 1 --length 16" TRAIN_60M=$TRAIN_150M TRAIN_1B=$TRAIN_150M
    FORWARD_150M="llada-31m --batch 1 --length 16" FORWARD_256=$FORWARD_150M FORWARD_8B=$FORWARD_150M
    PEERS=("train-60m train_step llada-31m bf16-autocast 1 16" "forward-150m forward llada-31m bf16 1 16")
    CANVAS="--batch 1 --length 32 --generate 16 --steps 8"
    REPEAT=1 SMALL="--set size=1m --set optimiser.batch=4"
else # A process that holds the GPU open, so that no other has to wake it.
    $PY -c "import ctypes, time
c = ctypes.CDLL('libcuda.so.1')
c.cuInit(0)
c.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0)
time.sleep($LIMIT)" &
    BACKGROUND+=($!)
fi

# ---- PyTorch compiles its graphs while ours is tested; the timed runs find them in its cache
for run in "${PEERS[@]}"; do
    read -r name rest <<<"$run"
    timeout -k 3 $((TESTS + 5)) bash -c \
        "peer $rest 1 > $LOG/warm-$name.log 2>&1; echo \"$name rc=\$? in \${SECONDS}s\" >> $LOG/warm.txt" &
    BACKGROUND+=($!)
done

# ---- what is there; this compiles the kernels
ours timeout 90 "$BIN/aquatint" doctor >"$LOG/doctor.txt" 2>&1
say "-- doctor: rc=$?, now ${SECONDS}s"
cat "$LOG/doctor.txt"
if [ "$DRY" = 0 ]; then
    grep -q '^gpus.*cuda:0' "$LOG/doctor.txt" || {
        say "no GPU for us; LIBS says where the libraries are"
        exit 3
    }
    timeout 25 "$PY" "$HERE/probe.py"
    # Tests that keep their kernels on disk find them there.
    mkdir -p /tmp/aquatint-kernels && cp "$XDG_CACHE_HOME"/aquatint/kernels/*.cubin /tmp/aquatint-kernels/
fi

# ---- correctness, many at a time
job() { printf '%s\t%s\t%s\n' "$@" >>"$LOG/jobs.txt"; } # NAME SECONDS COMMAND
# The emulator is left out: there is no compiler of that name.
TEST="env CXX=/nonexistent RUST_BACKTRACE=0"
[ "$DRY" = 0 ] && TEST="$TEST AQUATINT_GPU=1"
job run-memory 110 "$TEST $BIN/test-train --exact gpu::many_steps_on_a_gpu_take_no_more_memory_than_a_few"
job net-golden 80 "$TEST $BIN/test-network --exact golden::a_gpu_agrees_with_pytorch"
job run-resumes 90 "$TEST $BIN/test-train --exact gpu::a_run_on_a_gpu_is_that_on_the_processor_and_resumes_exactly"
cases=$(bash "$HERE/cases.sh" names)
[ "$DRY" = 1 ] && cases="smoke-f32 bound-int8 text-f32"
for name in $cases; do
    job "case-$name" 90 "bash $HERE/cases.sh $name $BIN/aquatint $DEVICE $CASES"
done
# Every operation that there is, each against its specification.
operations=$("$BIN/test-compute" --list 2>/dev/null | sed -n 's/^agreement::\(.*\): test$/\1/p')
[ "$DRY" = 1 ] && operations=norm::rms_norm
for name in $operations; do job "op-$name" 80 "$TEST $BIN/test-compute --exact agreement::$name"; done
SANITIZER=$(command -v compute-sanitizer || compgen -G "/usr/local/cuda/bin/compute-sanitizer")
sanitise() { # TOOL PREFIX PATTERN
    for name in $operations; do
        grep -Eq "$3" <<<"$name" || continue
        job "$2-$name" 110 "$TEST $SANITIZER --tool $1 --print-limit 3 --error-exitcode 9 \
$BIN/test-compute --exact agreement::$name"
    done
}
if [ -n "$SANITIZER" ] && [ "$DRY" = 0 ]; then
    sanitise racecheck race 'attention|loss|norm|optimiser'
    sanitise memcheck mem 'attention|loss|optimiser|prepared|experts|logits'
    sanitise initcheck init 'attention'
    sanitise synccheck sync 'attention'
fi
# Once more, since order and timing differ each time.
for name in $operations; do
    grep -Eq 'attention|products|loss' <<<"$name" &&
        job "again-$name" 80 "$TEST $BIN/test-compute --exact agreement::$name"
done

cat >"$LOG/one.sh" <<'P'
IFS=$'\t' read -r name most command <<< "$1"
rest=$((UNTIL - $(date +%s)))
[ $rest -lt 3 ] && { echo "$name skipped 0" >> "$LOG/results.txt"; exit 0; }
begin=$(date +%s%N)
LD_LIBRARY_PATH=$OURS timeout -k 3 $((most < rest ? most : rest)) bash -c "$command" > "$LOG/$name.log" 2>&1
echo "$name rc=$? $((($(date +%s%N) - begin) / 1000000))" >> "$LOG/results.txt"
P
begin=$SECONDS
UNTIL=$(($(date +%s) + TESTS - SECONDS))
export UNTIL
tr '\n' '\0' <"$LOG/jobs.txt" | xargs -0 -n 1 -P "$JOBS" bash "$LOG/one.sh"
say "== correctness: $((SECONDS - begin))s, now ${SECONDS}s"
$PY "$HERE/table.py" tests "$LOG" "$CASES" "$WHERE/processor"

# ---- speed, one thing at a time
# A compilation that is not done by now ends by its own limit.
compiled() { wc -l <"$LOG/warm.txt" 2>/dev/null || echo 0; }
while [ "$(compiled)" -lt ${#PEERS[@]} ] && [ $SECONDS -lt $((TESTS + 10)) ]; do sleep 0.5; done
say "PyTorch's graphs: $(tr '\n' ';' <"$LOG/warm.txt")"
part() { # NAME SECONDS COMMAND
    local rest=$((LIMIT - SECONDS - 5)) begin=$SECONDS rc
    [ $rest -lt 5 ] && say "skipped $1" && return
    timeout -k 3 $(($2 < rest ? $2 : rest)) bash -c "$3" >"$LOG/$1.out" 2>"$LOG/$1.err"
    rc=$?
    say "$1 rc=$rc $((SECONDS - begin))s"
    [ $rc = 0 ] || tail -3 "$LOG/$1.err"
}
timed_peer() { # NAME
    for run in "${PEERS[@]}"; do [ "${run%% *}" = "$1" ] && part "peer-$1" 45 "peer ${run#* } $REPEAT"; done
}
profile() { # NAME MILLISECONDS UNTIL COMMAND
    [ -n "$CUPTI" ] && [ "$DRY" = 0 ] && part "profile-$1" 40 \
        "export PROFILE_MS=$2 ${3:+PROFILE_UNTIL=$3} PROFILE_OUT=$LOG/profile-$1.txt; ours() { profiled \"\$@\"; }; $4"
}
part ours-train-150m 40 "shape $TRAIN_150M --repeat $REPEAT"
timed_peer train-150m
# Training as people do it: another number of noisy rows each step, QK-norm, Muon.
part real 40 "training real"
profile train-150m 400 adamw "shape $TRAIN_150M --repeat 8"
profile real 1500 adamw "training profile --set run.max_minutes=0.1 --set run.validate_canvases=1"
part ours-train-60m 30 "shape $TRAIN_60M --repeat $REPEAT"
timed_peer train-60m
part ours-forward-150m 30 "shape $FORWARD_150M --repeat $REPEAT"
timed_peer forward-150m
part ours-forward-256 30 "shape $FORWARD_256 --repeat $REPEAT"
profile forward-256 200 "" "shape $FORWARD_256 --repeat $REPEAT"
# The same with launches replayed as CUDA graphs, which no GPU has run yet: a canvas of 256 on the built-in model, and
# real training. What was replayed is in the logs.
part ours-canvas-256 20 "bench $CANVAS --repeat $((5 * REPEAT))"
part ours-canvas-256-graphs 20 "bench $CANVAS --repeat $((5 * REPEAT)) --graphs --verbose"
part real-graphs 40 "training real-graphs --graphs --verbose"
part ours-train-150m-graphs 40 "shape $TRAIN_150M --repeat $REPEAT --graphs --verbose"
grep -h 'replays of' "$LOG"/*-graphs.err
part ours-generate 25 "bench --generate 96 --batch 8 --repeat 3"
part ours-train-1b 40 "shape $TRAIN_1B --repeat 4"
part ours-forward-8b 60 "shape $FORWARD_8B --repeat 5"
say "== table, at ${SECONDS}s"
$PY "$HERE/table.py" speed "$LOG" "$RUNS"
nvidia-smi --query-gpu=clocks.sm,temperature.gpu,power.draw --format=csv,noheader 2>/dev/null
say "== done in ${SECONDS}s"
