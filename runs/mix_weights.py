"""Weights between others of one model: each number the weighed mean of theirs.

    python runs/mix_weights.py 0.25:src/onedc/weights/small.safetensors 0.75:RUN -o mixed.safetensors

What each share stands before is a weights file, a checkpoint or a run, taken by its EMA. The mean of what
training leaves along its way can be better than each. In 8 bits, with graphs, without a prior of z, so that
`onedc fit-z` comes next.
Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from held_out import codec_at

from onedc.cli.jobs import exit_status
from onedc.engine.onnx_export import export_graphs
from onedc.errors import ConfigError
from onedc.files import refuse_existing
from onedc.weights.file import save_weights


def part(text: str) -> tuple[float, Path]:
    """ "0.25:FILE" as a share and a place."""
    share, _, place = text.partition(":")
    try:
        if place and math.isfinite(float(share)):
            return float(share), Path(place)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not SHARE:PLACE")


def main() -> None:
    """Mix and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", type=part, metavar="SHARE:PLACE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model-id", type=int, default=1)
    args = parser.parse_args()
    refuse_existing(args.output, force=False)
    total = sum(share for share, _ in args.parts)
    if total <= 0:
        parser.error(f"the shares add up to {total:g}, which must be above 0")
    codecs = [(share / total, codec_at(place)) for share, place in args.parts]
    mixed = codecs[0][1]
    if any(codec.config != mixed.config for _, codec in codecs):
        raise ConfigError("weights of other models cannot be mixed")
    states = [(share, codec.state_dict()) for share, codec in codecs]
    with torch.no_grad():
        mixed.load_state_dict({
            name: torch.stack([share * state[name] for share, state in states]).sum(dim=0)
            if value.is_floating_point() else value
            for name, value in states[0][1].items()
        })  # fmt: skip
    save_weights(
        args.output, mixed, model_id=args.model_id, dtype=torch.int8, graphs=export_graphs(mixed.config)
    )
    print(f"{args.output}: {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(exit_status(main))
