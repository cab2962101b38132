#!/usr/bin/env bash
# A model like the bundled one, top to bottom, from the tar shards and the pretrained networks alone. The bundled one has
# been trained on by a GPU since: `onedc train small-gpu`.
#
#   runs/reproduce_small.sh DATA_FOLDER NETS_FOLDER [MINUTES]
#
# DATA_FOLDER holds the tar shards, NETS_FOLDER the files that `onedc train` looks for in --nets. With MINUTES it
# stops after about so long, each stage at a checkpoint; started again, it goes on from there. CPU or GPU.
# What a stage learned is in runs/small/STAGE; the weights come out as runs/small/small.safetensors.
#
# SEED, and the steps of the stages (TOKENS, CODEC, TEACHER, MATCH, DECAY, GAN), may be set in the environment; 0 leaves
# a stage out, where the next one can do without it.
set -euo pipefail

data=$(realpath "$1")
nets=$(realpath "$2")
minutes=${3:-0}
cd "$(dirname "$0")/.."
out=${OUT:-runs/small}
seed=${SEED:-1}
tokens=${TOKENS:-240} codec=${CODEC:-1125} teacher=${TEACHER:-0} match=${MATCH:-0} decay=${DECAY:-5500}
begun=$(date +%s)

# stage NAME RECIPE STEPS [SETTING ...]: train it to its end; leave the script where the time is over before.
stage() {
    local name=$1 recipe=$2 steps=$3 last slice=()
    shift 3
    last=$(printf '%s/%s/checkpoints/step-%08d' "$out" "$name" "$steps")
    if [ "$steps" -eq 0 ] || [ -d "$last" ]; then
        return
    fi
    if [ "$minutes" -gt 0 ]; then
        local left=$((minutes - ($(date +%s) - begun) / 60))
        if [ "$left" -le 0 ]; then
            echo "time is over before $name; start again to go on"
            exit 0
        fi
        slice=(--max-minutes "$left")
    fi
    onedc train "$recipe" --data "$data" --nets "$nets" --out "$out/$name" --resume "${slice[@]}" \
        --set "run.steps=$steps" "run.seed=$seed" "data.latent_cache=$out/latents" "$@"
    if [ ! -d "$last" ]; then
        echo "time is over in $name; start again to go on"
        exit 0
    fi
}

# Tokens for stage I: what each 32x32 px look like from afar.
distilled=()
stage tokens small-tokenizer "$tokens" data.latent_cache= data.batch=16 optim.decay_steps=100
if [ "$tokens" -gt 0 ]; then
    distilled=("nets.teacher=$out/tokens" objective.distill.weight=0.1)
fi

# Stage I: rate and distortion, from a linear code, on small crops first.
stage codec small-stage1 "$codec" data.crop_px=128 "${distilled[@]}"
last=codec

# Stage II, if wanted: TEACHER=10000 MATCH=10000.
stage teacher small-teacher "$teacher"
if [ "$teacher" -gt 0 ]; then
    stage match small-stage2 "$match" "nets.start=$out/$last" "nets.score=$out/teacher"
    if [ "$match" -gt 0 ]; then
        last=match
    fi
fi

# Crops of 256 px and the fall of the learning rate, with the terms of stage I.
if [ "$last" = codec ]; then
    stage decay small-decay "$decay" "nets.start=$out/$last" "optim.decay_steps=$decay" "${distilled[@]}"
    if [ "$decay" -gt 0 ]; then
        last=decay
    fi
fi

onedc export "$out/$last" -o "$out/small.safetensors" --storage int8 --force
onedc fit-z "$out/small.safetensors" --data "$data" -o "$out/small.safetensors" --force
