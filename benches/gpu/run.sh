#!/bin/bash
# Checks the CUDA device, measures it beside PyTorch, and trains on it, on a machine with a GPU and no toolchain. It is
# run in the repository's folder; `cargo xtask gpu-bundle` made what it needs beside that.
#
#   BUNDLE=.gpu bash benches/gpu/run.sh check            correctness, speed, profiles
#   BUNDLE=.gpu bash benches/gpu/run.sh train RECIPE     trains for SECS seconds, and splits the weights into parts
#
#   BUNDLE  folder of the bundle (target/gpu-bundle)     OUT   where results go (gpu-results)
#   WHERE   room for what is unpacked (/tmp/aquatint)    PY    a Python, for measuring with PyTorch (python3)
#   LIBS    folder of libcublasLt and libnvrtc, else they are looked for
#   DRY=1   a rehearsal on the processor
# For check:
#   LIMIT   seconds for everything (300)   TESTS   seconds of them for correctness (125)   JOBS   tests at a time (10)
# For train:
#   SECS    seconds of training (400)   PROBE   seconds before it in which the speed is measured (20)   SET   more flags
set -u
SECONDS=0
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CHECKOUT=$(readlink -f "$HERE/../..")
BUNDLE=$(readlink -f "${BUNDLE:-$CHECKOUT/target/gpu-bundle}")
OUT=${OUT:-$PWD/gpu-results} WHERE=${WHERE:-/tmp/aquatint} PY=${PY:-python3} DRY=${DRY:-0}
mkdir -p "$OUT" && OUT=$(readlink -f "$OUT")
JOB=${1:-check}
DEVICE=cuda
[ "$DRY" = 1 ] && DEVICE=cpu
LOG=$WHERE/$JOB-logs RUNS=$WHERE/$JOB-runs BIN=$WHERE/bin
rm -rf "$LOG" "$RUNS"
mkdir -p "$LOG" "$RUNS"
export XDG_CACHE_HOME=$WHERE/cache NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1
exec > >(tee -a "$OUT/summary.txt") 2>&1

say() { printf '%s\n' "$*"; }

# Python reads xz where there is no program for it.
tar -xJf "$BUNDLE/bundle.tar.xz" -C "$WHERE" 2>/dev/null ||
    $PY -c "import sys, tarfile; tarfile.open(sys.argv[1], 'r:xz').extractall(sys.argv[2])" \
        "$BUNDLE/bundle.tar.xz" "$WHERE" || exit 2
# Tests find their data by the path of the checkout that they were built in.
ROOT=$(cat "$WHERE/root")
if [ "$ROOT" != "$CHECKOUT" ] && [ ! -e "$ROOT" ]; then
    mkdir -p "$(dirname "$ROOT")" && ln -s "$CHECKOUT" "$ROOT"
fi
[ "$(cat "$WHERE/commit")" = "$(git -C "$CHECKOUT" rev-parse HEAD 2>/dev/null)" ] ||
    say "built of $(cat "$WHERE/commit"), and the checkout is another or unknown"

# PyTorch's packages bring the libraries, else the toolkit does. PyTorch itself keeps the path that it had.
THEIRS=${LD_LIBRARY_PATH:-}
SITE=$($PY -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
for folder in "$SITE"/nvidia/cu*/lib /usr/local/cuda/lib64 /usr/local/cuda/targets/*/lib; do
    if compgen -G "$folder/libcublasLt.so*" >/dev/null && compgen -G "$folder/libnvrtc.so*" >/dev/null; then
        LIBS=${LIBS:-$folder}
    fi
done
CUPTI=$(compgen -G "$SITE/nvidia/cu*/lib/libcupti.so.13" || compgen -G "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so.13")
OURS=${LIBS:-}${THEIRS:+:$THEIRS}
ours() { LD_LIBRARY_PATH=$OURS "$@"; }
export -f ours
export OURS THEIRS CUPTI WHERE HERE RUNS BIN DEVICE DRY PY LOG SMALL=

say "== $JOB, $(nproc) cores,$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2), libraries in ${LIBS:-no usual place}"
nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,clocks.max.sm,power.limit,compute_mode \
    --format=csv,noheader 2>/dev/null

cd "$CHECKOUT" || exit 2
# shellcheck source=/dev/null
case $JOB in
    check) . "$HERE/check.sh" ;;
    train) . "$HERE/train.sh" "${2:?a recipe}" ;;
    *) say "run.sh check, or run.sh train RECIPE" && exit 2 ;;
esac
