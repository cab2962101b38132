#!/usr/bin/env bash
# The paper's models, top to bottom: networks, data, stage I at lambda 4.6, its decay, stage II, the other rates, z alone,
# one family file of them all, and its evaluation. What each step takes and should show: docs/training.md.
#
#   runs/reproduce_paper.sh --plan     what is there and what is missing: networks, data, GPUs, gigabytes; starts nothing
#   runs/reproduce_paper.sh --print    the commands, in order; starts nothing
#   runs/reproduce_paper.sh            all of it; started again, it goes on where it was
#
# In the environment: NETS, CATALOG, COCO, KODAK and OUT are places, PROCESSES the number of GPUs, FILES how many files of
# CommonCatalog are fetched, RATES the lambdas beside 4.6. STAGE1, DECAY and STAGE2 are steps of lambda 4.6, OTHER and
# OTHER_STAGE2 those of each other rate and of z alone.
set -euo pipefail
cd "$(dirname "$0")/.."

nets=${NETS:-nets} catalog=${CATALOG:-catalog} coco=${COCO:-coco} kodak=${KODAK:-kodak} out=${OUT:-runs/paper}
processes=${PROCESSES:-4} files=${FILES:-10000}
stage1=${STAGE1:-400000} decay=${DECAY:-50000} stage2=${STAGE2:-1000100} other=${OTHER:-50000} other_stage2=${OTHER_STAGE2:-100000}
read -ra rates <<< "${RATES:-12.2 7.4 2.9 1.8 1.1 0.6}"
disk_gb=$((140 + 80 * (${#rates[@]} + 1))) # networks and all runs; the catalog comes on top
mode=${1:-run}
case $mode in run | --plan | --print) ;; *)
    echo "usage: $0 [--plan | --print]" >&2
    exit 2
    ;;
esac

# step COMMAND...: run it, or with --print show it.
step() {
    if [ "$mode" = --print ]; then
        printf '%s\n' "$*"
    else
        "$@"
    fi
}

# train RECIPE NAME STEPS [SETTING ...]: a stage on all GPUs, validated on COCO; finished ones are left as they are.
train() {
    local recipe=$1 name=$2 steps=$3 last
    shift 3
    last=$(printf '%s/%s/checkpoints/step-%08d' "$out" "$name" "$steps")
    if [ "$mode" != --print ] && [ -d "$last" ]; then
        return
    fi
    step accelerate launch --num_processes "$processes" -m onedc train "$recipe" --data "stream:$catalog" --nets "$nets" \
        --out "$out/$name" --resume --set "data.validation_source=coco:$coco" "run.steps=$steps" "$@"
    if [ "$mode" != --print ] && [ ! -d "$last" ]; then
        echo "stopped in $name; start again to go on"
        exit 0
    fi
}

# report WHAT TEST...: one line of the plan.
missing=0
report() {
    local what=$1
    shift
    if "$@" > /dev/null 2>&1; then
        printf 'there    %s\n' "$what"
    else
        printf 'missing  %s\n' "$what"
        missing=1
    fi
}

has_parquet() { find "$catalog" -name '*.parquet' | grep -q .; }
has_coco() { [ -f "$coco/annotations/captions_val2017.json" ] && [ -d "$coco/val2017" ]; }
has_room() { [ "$(df -BG --output=avail . | tail -n 1 | tr -dc 0-9)" -ge "$disk_gb" ]; }
has_gpus() { [ "$(nvidia-smi -L | wc -l)" -ge "$processes" ]; }

if [ "$mode" = --plan ]; then
    for name in lpips-vgg lpips-alex sd-vae dmd2-unet maskgit-vqgan sd15-unet sd15-text; do
        report "network $name in $nets" onedc nets check "$nets" "$name"
    done
    report "CommonCatalog's Parquet files in $catalog" has_parquet
    report "COCO val2017 with its captions in $coco" has_coco
    report "Kodak's 24 images in $kodak" test -d "$kodak"
    report "$processes GPUs, 80 GB each" has_gpus
    report "$disk_gb GB of free disk for networks and runs" has_room
    exit "$missing"
fi

# Networks and data.
step onedc nets fetch paper lpips-alex --to "$nets"
step onedc nets check "$nets" paper lpips-alex
step onedc data fetch commoncatalog --to "$catalog" --files "$files"
if [ "$mode" = --print ] || ! has_coco; then
    step mkdir -p "$coco"
    step curl -L -C - -o "$coco/val2017.zip" http://images.cocodataset.org/zips/val2017.zip
    step curl -L -C - -o "$coco/captions.zip" http://images.cocodataset.org/annotations/annotations_trainval2017.zip
    step python -m zipfile -e "$coco/val2017.zip" "$coco"
    step python -m zipfile -e "$coco/captions.zip" "$coco"
fi

# Lambda 4.6: stage I, its decay, stage II.
train sd15-stage1 stage1 "$stage1"
train sd15-decay decay "$decay" "nets.start=$out/stage1"
train sd15-stage2 stage2 "$stage2" "nets.start=$out/decay"

# z alone and the other rates start from the decayed model, and end with a shorter stage II of their own.
train sd15-zonly zonly "$other" "nets.start=$out/decay"
train sd15-stage2 zonly-stage2 "$other_stage2" model.z_only=true "nets.start=$out/zonly"
for rate in "${rates[@]}"; do
    train "sd15-rate-$rate" "rate-$rate" "$other" "nets.start=$out/decay"
    train sd15-stage2 "rate-$rate-stage2" "$other_stage2" "nets.start=$out/rate-$rate"
done

# One family file, lowest rate first, and what it is worth.
members=(--run z "$out/zonly-stage2")
for rate in $(printf '%s\n' 4.6 "${rates[@]}" | sort -gr); do
    if [ "$rate" = 4.6 ]; then
        members+=(--run 4.6 "$out/stage2")
    else
        members+=(--run "$rate" "$out/rate-$rate-stage2")
    fi
done
step onedc convert "${members[@]}" -o "$out/family.safetensors" --force
step onedc eval "$kodak" -o "$out/kodak" --weights "$out/family.safetensors" --device cuda --quality 0,7,21,36,50,64,79,93 \
    --metrics psnr,ms_ssim,lpips_alex,dists,fid --metric-weights "$nets"
