#!/usr/bin/env bash
# The light model on one lent GPU: imitation, then stage I beside a discriminator; eight minutes of training.
#
#   runs/light_on_gpu.sh SHARDS NETWORKS TEACHER OUT [START]
#
# SHARDS: photos, as for onedc train. NETWORKS: LPIPS-squeeze and TAEF2. TEACHER: weights file of the codec to imitate.
# OUT gets the log of each part and its EMA weights in fp16, in pieces of 15 MB (cat light-stage1-gpu.safetensors.*
# joins them), so that a lease that ends early loses one part at most. START: weights to go on from, without imitation.
# With LIMIT=580 stage I ends in time for all of it to take so many seconds, the making of the pools counted.
# To rehearse without a GPU: EXTRA="data.batch=1 data.pool_windows=1 run.minutes=0.2".
set -euo pipefail

shards=$1 networks=$2 teacher=$3 out=$4 start=${5:-}
python=${PYTHON:-python}
read -ra extra <<<"${EXTRA:-}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# Trains one recipe from $start on and leaves its weights in OUT.
part() {
    local recipe=$1
    shift
    local settings=("$@" "${extra[@]}")
    if [ -n "$start" ]; then settings+=("nets.start=$start"); fi
    "$python" -m onedc train "$recipe" --data "$shards" --nets "$networks" --out "$work/$recipe" --set "${settings[@]}"
    "$python" -m onedc export "$work/$recipe" -o "$work/$recipe.safetensors" --storage fp16 --force
    cp "$work/$recipe/log.jsonl" "$out/$recipe.jsonl"
    split -b 15000000 -d "$work/$recipe.safetensors" "$out/$recipe.safetensors."
    start=$work/$recipe
    echo "$recipe: done after $SECONDS s"
}

minutes=() imitation=3
if [ -z "$start" ]; then
    part light-imitation-gpu "nets.codec=$teacher" "run.minutes=$imitation"
    if [ -n "${LIMIT:-}" ]; then # both parts take the same time beside their training
        minutes=("run.minutes=$("$python" -c "print(round(($LIMIT - $SECONDS - ($SECONDS - 60 * $imitation)) / 60, 2))")")
    fi
fi
part light-stage1-gpu "${minutes[@]}"
