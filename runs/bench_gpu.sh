#!/usr/bin/env bash
# What needs a GPU: times and memory of the paper's model and of the bundled one beside other ways to run them,
# and files that go from device to device.
#
#   runs/bench_gpu.sh [PICTURES]
#
# PICTURES is a folder of PNG files, as Kodak's 24. Tables and numbers come to runs/bench_gpu/.
set -euo pipefail

pictures=${1:+$(realpath "$1")}
cd "$(dirname "$0")/.."
sizes=512x512,768x512,1024x1024,1920x1088
for preset in sd15 small; do
    python -m onedc bench --preset "$preset" --device cuda --precision bf16 --runs 10 --size "$sizes" \
        --batch 1,4,16 --memory "$sizes,4096x4096" -o "runs/bench_gpu/$preset"
done
python -m onedc bench --preset sd15 --device cuda --precision bf16 --runs 10 --size "$sizes" \
    --ways onedc --compile -o runs/bench_gpu/sd15-compiled
ONEDC_PICTURES=$pictures python -m pytest -m gpu tests/e2e/test_devices.py
