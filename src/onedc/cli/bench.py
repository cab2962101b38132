"""Time a model on this machine, network by network.

  onedc bench
  onedc bench --size 512x512,1920x1088 --batch 1,4 --memory 1024x1024,4096x4096 -o results
  onedc bench --preset sd15 --device cuda --runs 10

Times are medians of several runs after a warm-up, and stand beside each network's floating-point operations
and their share of the device's fastest matrix product.

Two other ways to run the same networks are measured for comparison. "reference": as the paper's
implementation does (its adapters not merged, the autoencoder in fp32, window by window; the rest in fp32 on a
processor and under bf16 autocast on CUDA). "sampler": 20 and 50 steps with guidance on the same UNet, then
the autoencoder; the time of a step is measured once and multiplied.
"""

from __future__ import annotations

import argparse

from onedc.cli import arguments as cli
from onedc.cli.jobs import Job, make_folders, write_output
from onedc.cli.streams import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc bench` takes."""
    sizes_text = "picture sizes (default: 512x512)"
    cli.option(parser, "--size LIST", cli.sizes, sizes_text, dest="sizes", default=((512, 512),))
    text = "also measure pictures per second at these batch sizes"
    cli.option(parser, "--batch LIST", cli.whole_numbers, text, dest="batches")
    cli.option(
        parser, "--memory LIST", cli.sizes, "also measure the peak memory at these sizes", dest="memory_sizes"
    )
    cli.option(parser, "--runs N", int, "timed runs (default: 3)", default=3)
    text = "any of onedc, reference, sampler (default: all); none: measure memory alone"
    cli.option(parser, "--ways LIST", cli.names, text)
    cli.switch(parser, "--compile", "run onedc through torch.compile")
    text = "measure the processor time of this process instead of wall clock time, for shared machines"
    parser.add_argument("--processor-time", dest="busy", action="store_true", help=text)
    cli.option(parser, "-o, --output DIR", str, "folder for bench.json and bench.md")
    cli.add_model_arguments(parser)
    cli.option(parser, "--preset NAME", str, "random weights: small, sd15 or tiny")


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables; returns the exit status."""
    from onedc.evaluation.bench import BenchOptions, bench
    from onedc.evaluation.bench_report import to_json, to_markdown

    options = cli.given(BenchOptions, args, **({"ways": ()} if args.ways == ("none",) else {}))
    jobs = [] if args.output is None else [Job("", f"{args.output}/bench{end}") for end in (".json", ".md")]
    make_folders(jobs)
    found = bench(options, tell=tell)
    text = to_markdown(found)
    for job, content in zip(jobs, (to_json(found), text), strict=False):
        write_output(job, content.encode(), force=True)
    print(text, end="")
    return 0
