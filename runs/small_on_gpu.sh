#!/usr/bin/env bash
# The bundled model trained further on one lent GPU: stage I, then beside a discriminator; nine minutes of training.
#
#   runs/small_on_gpu.sh SHARDS NETWORKS OUT [START]
#
# SHARDS: photos, as for onedc train. NETWORKS: LPIPS-squeeze and TAEF2. START: weights to go on from, else the bundled.
# OUT gets the log of each part and its EMA weights in fp16, in pieces of 15 MB (cat small-gpu-gan.safetensors.* joins
# them), so that a lease that ends early loses one part at most.
# With LIMIT=640 the second part ends in time for all of it to take so many seconds, the making of the pools counted.
# To rehearse without a GPU: EXTRA="data.batch=1 data.pool_windows=1 data.crop_px=128 objective.window_px=64 run.minutes=1".
set -euo pipefail

shards=$1 networks=$2 out=$3 start=${4:-$(dirname "$0")/../src/onedc/weights/small.safetensors}
python=${PYTHON:-python}
read -ra extra <<<"${EXTRA:-}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# Trains one recipe from $start on for so many minutes and leaves its weights in OUT.
part() {
    local recipe=$1 minutes=$2
    "$python" -m onedc train "$recipe" --data "$shards" --nets "$networks" --out "$work/$recipe" \
        --set "nets.start=$start" "run.minutes=$minutes" "${extra[@]}"
    "$python" -m onedc export "$work/$recipe" -o "$work/$recipe.safetensors" --storage fp16 --force
    cp "$work/$recipe/log.jsonl" "$out/$recipe.jsonl"
    split -b 15000000 -d "$work/$recipe.safetensors" "$out/$recipe.safetensors."
    start=$work/$recipe
    echo "$recipe: done after $SECONDS s"
}

first=6 second=3
part small-gpu $first
if [ -n "${LIMIT:-}" ]; then # both parts take the same time beside their training
    second=$("$python" -c "print(round(($LIMIT - $SECONDS - ($SECONDS - 60 * $first)) / 60, 2))")
fi
part small-gpu-gan "$second"
