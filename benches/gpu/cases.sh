#!/bin/bash
# Work that a GPU and the processor do alike: cases.sh NAME PROGRAM DEVICE FOLDER, in the repository's folder. What it
# found is FOLDER/NAME.jsonl or FOLDER/NAME.txt. `cases.sh names` lists them; the word behind the dash is the precision.
set -eu
if [ "$1" = names ]; then
    echo smoke-{f32,bf16} long64-{f32,bf16} long128-{f32,bf16} bound-{f32,bf16,int8,int4} text-{f32,bf16} \
        resumed-{f32,bf16}
    exit
fi
name=$1 program=$2 device=$3 folder=$4
on="--device $device --precision ${name#*-}"
train() { # FOLDER FLAGS...
    # shellcheck disable=SC2086
    "$program" train recipes/smoke.toml $on --set run.sample_every=0 "${@:2}" --out "$1"
}
recorded() { # FLAGS...
    rm -rf "${folder:?}/$name"
    train "$folder/$name" "$@"
    cp "$folder/$name/metrics.jsonl" "$folder/$name.jsonl"
}
# Canvases of 1,024: heads of 64 and AdamW, or heads of 128, one for keys and values, and Muon.
long="--set size=16m --set network.layers=4 --set data.canvas_length=1024 --set optimiser.batch=4 --set run.steps=6 \
--set run.log_every=1 --set run.validate_canvases=4"
# shellcheck disable=SC2086
case $name in
    smoke-*) recorded --set run.steps=60 --set run.log_every=10 ;;
    long64-*) recorded $long ;;
    long128-*)
        recorded $long --set network.heads=3 --set network.head_size=128 --set network.key_value_heads=1 \
            --set optimiser.kind=muon
        ;;
    bound-*) "$program" eval likelihood --data data/sample/valid $on --format json >"$folder/$name.jsonl" ;;
    text-*) "$program" generate 'Once upon a time' --seed 7 --max-tokens 96 $on >"$folder/$name.txt" ;;
    # A run that another process resumes is the run that nobody stopped, to the bit.
    resumed-*)
        rm -rf "${folder:?}/$name" "${folder:?}/$name-whole"
        short="--set optimiser.lr_schedule=constant --set run.validate_canvases=4"
        train "$folder/$name-whole" $short --set run.steps=16
        train "$folder/$name" $short --set run.steps=8
        train "$folder/$name" $short --set run.steps=16 --resume
        cmp "$folder/$name-whole/model.safetensors" "$folder/$name/model.safetensors"
        echo "the same to the bit" >"$folder/$name.txt"
        ;;
esac
