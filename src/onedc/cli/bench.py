"""`onedc bench`: how fast a model is on this machine, part by part, and how much memory it takes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from onedc.cli.arguments import add_model_arguments, add_parser, names, sizes, whole_numbers
from onedc.cli.jobs import Job, make_folders, write_output
from onedc.cli.streams import tell

if TYPE_CHECKING:
    from onedc.evaluation.bench import BenchOptions

_DESCRIPTION = """\
Time a model on this machine: medians of several runs after a warm-up, for each network, with its
floating-point operations and their share of the device's fastest matrix product.

  onedc bench
  onedc bench --size 512x512,1920x1088 --batch 1,4 --memory 1024x1024,4096x4096 -o results
  onedc bench --preset sd15 --device cuda --runs 10

Two other ways to run the same networks are measured for comparison. "reference": as the paper's
implementation does (its adapters not merged, the autoencoder in fp32, window by window; the rest in fp32 on a
processor and under bf16 autocast on CUDA). "sampler": 20 and 50 steps with guidance on the same UNet, then
the autoencoder; the time of a step is measured once and multiplied.
"""


def add_command(commands: Any) -> None:
    """Declare `onedc bench`."""
    parser = add_parser(commands, "bench", "time a model on this machine", _DESCRIPTION, run)
    parser.add_argument(
        "--size", type=sizes, default=((512, 512),), metavar="LIST", help="picture sizes (default: 512x512)"
    )
    parser.add_argument(
        "--batch",
        type=whole_numbers,
        default=(),
        metavar="LIST",
        help="also measure pictures per second at these batch sizes",
    )
    parser.add_argument(
        "--memory", type=sizes, default=(), metavar="LIST", help="also measure the peak memory at these sizes"
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="timed runs (default: 3)")
    parser.add_argument(
        "--ways", type=names, default=("onedc", "reference", "sampler"), metavar="LIST",
        help="any of onedc, reference, sampler (default: all); none: measure memory alone",
    )  # fmt: skip
    parser.add_argument("--compile", action="store_true", help="run onedc through torch.compile")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="measure the processor time of this process instead of wall clock time, for shared machines",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for bench.json and bench.md")
    add_model_arguments(parser)
    parser.add_argument("--preset", metavar="NAME", help="random weights: small, sd15 or tiny")


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables; returns the exit status."""
    from onedc.evaluation.bench import bench
    from onedc.evaluation.bench_report import to_json, to_markdown

    options = _options(args)
    jobs = [] if args.output is None else [Job("", f"{args.output}/bench{end}") for end in (".json", ".md")]
    make_folders(jobs)
    found = bench(options, tell=tell)
    text = to_markdown(found)
    for job, content in zip(jobs, (to_json(found), text), strict=False):
        write_output(job, content.encode(), force=True)
    print(text, end="")
    return 0


def _options(args: argparse.Namespace) -> BenchOptions:
    from onedc.evaluation.bench import BenchOptions

    return BenchOptions(
        weights=args.weights,
        preset=args.preset,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        sizes=args.size,
        memory_sizes=args.memory,
        batches=args.batch,
        runs=args.runs,
        ways=() if args.ways == ("none",) else args.ways,
        compile=args.compile,
        busy=args.processor_time,
    )
