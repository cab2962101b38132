#!/usr/bin/env bash
# Regenerates every table and figure of docs/evaluation.md.
#
#   runs/evaluate_kodak.sh KODAK_FOLDER METRIC_WEIGHTS_FOLDER [PROCESSES]
#
# Stopped and started again, it goes on where it was; the results stay in runs/evaluation/out. With more than one
# process the times in them disturb each other; no other number changes.
set -euo pipefail

kodak=$(realpath "$1")
networks=$(realpath "$2")
processes=${3:-1}
cd "$(dirname "$0")/.."
out=runs/evaluation/out
page=docs/evaluation.md

# Ours alone at rates from nearly nothing on, over all images.
onedc eval "$kodak" -o "$out/own" --bpp 0.004,0.006,0.0085,0.0125,0.0175,0.025,0.05,0.1,0.2 \
    --metric-weights "$networks" --jobs "$processes" --replace --report "$page" --section own

# Ours at five qualities; WebP and AVIF each at its smallest file not below ours.
onedc eval "$kodak" -o "$out/qualities" --quality 0,20,40,60,80 --against webp,avif --rule at-least \
    --metric-weights "$networks" --jobs "$processes" --replace --report "$page" --section qualities

# Every codec at four rates: its largest file not above each.
onedc eval "$kodak" -o "$out/rates" --codec onedc,jpeg,webp,avif,jxl,hevc,vvc --bpp 0.05,0.1,0.2,0.3 \
    --metric-weights "$networks" --jobs "$processes" --replace --report "$page" --section rates

# Curves, and BD-rates of ours over each of the others.
onedc rd "$out/qualities" "$out/rates" -o docs/rd --test onedc --published kodak --report "$page" --section bd-rates

# The contact sheet of the README.
python runs/contact_sheet.py "$kodak"
