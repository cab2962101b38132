"""Measure codecs on pictures through real files: bytes, times, PSNR, MS-SSIM, LPIPS and more.

  onedc eval kodak/ -o results --quality 10,30,50
  onedc eval kodak/ -o results --codec onedc,webp,avif --bpp 0.1,0.2
  onedc eval kodak/ -o results --quality 10,30 --against webp,avif --rule at-least
  onedc eval kodak/ -o results --quality 10,30 --weights mine.safetensors --name mine
  onedc eval kodak/ -o results --recon low/ high/ --sizes low.csv high.csv --name theirs

--quality sets each codec's own quality. --bpp or --bytes matches every codec to one rate or size: for each
image, its largest file that is not larger. --against matches other codecs to the file sizes of ours. A run
that was stopped continues when it is started again; other points or names are added to the results.
Results: results.jsonl (a line per image and codec), summary.json, .csv, .md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError, expand
from onedc.cli.streams import print_error, progress_bar, tell

if TYPE_CHECKING:
    from onedc.evaluation.plan import EvaluationOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc eval` takes."""
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="picture files, folders or patterns")
    text = "folder of the results; may hold earlier ones"
    cli.option(parser, "-o, --output DIR", Path, text, required=True)
    _add_points(parser)
    _add_metrics(parser)
    _add_elsewhere(parser)
    cli.option(parser, "--jobs N", int, "processes (default 1: undisturbed times)", default=1)
    text = "file sizes found while matching rates (default: the user's cache)"
    cli.option(parser, "--cache DIR", Path, text)
    cli.switch(parser, "--keep-decoded", "keep the decoded pictures as PNG")
    cli.add_report_arguments(parser, "the table", "evaluation")
    cli.add_model_arguments(parser, threads=1)
    cli.add_plugin_argument(parser, "metrics and codecs")


def _add_points(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("codecs and rates")
    text = (
        "of onedc, jpeg, webp, avif, jxl, vvc, hevc and those of --plugin (default: onedc, or none with "
        "--recon)"
    )
    cli.option(group, "--codec LIST", cli.names, text, dest="codecs")
    text = "each codec's own quality (QP for vvc and hevc)"
    cli.option(group, "--quality LIST", cli.numbers, text, dest="qualities")
    cli.option(
        group, "--bpp LIST", cli.numbers, "match every codec to these bits per pixel", dest="targets_bpp"
    )
    text = "match every codec to these file sizes"
    cli.option(group, "--bytes LIST", cli.whole_numbers, text, dest="targets_bytes")
    text = "match these codecs to the file sizes of --codec at --quality, or of --recon"
    cli.option(group, "--against LIST", cli.names, text)
    text = "how --against matches: the largest file not above ours (default), or the smallest not below"
    cli.option(group, "--rule", str, text, choices=("at-most", "at-least"), default="at-most")


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("metrics")
    text = (
        "of psnr, ms_ssim, lpips_squeeze, lpips_alex, lpips_vgg, dists, fd_mobilenet, fid, kid, "
        "inception_score and those of --plugin (default: psnr, ms_ssim, and with --metric-weights "
        "lpips_squeeze, fd_mobilenet)"
    )
    cli.option(group, "--metrics LIST", cli.names, text)
    cli.option(group, "--metric-weights DIR", Path, "folder of the metrics' networks")
    cli.option(group, "--patch-size PX", int, "patch size of metrics over sets (default 256)", default=256)
    cli.option(
        group, "--patch-count N", int, "grids of patches, each shifted by size/N (default 2)", default=2
    )


def _add_elsewhere(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("models and codecs that run elsewhere")
    text = (
        "what to call the model of --weights, or the codec of --recon (default: onedc, recon); "
        "runs under different names may share a folder"
    )
    cli.option(group, "--name NAME", str, text)
    text = "measure these decoded pictures, found by their stems; a folder for each rate"
    cli.option(group, "--recon DIR", Path, text, nargs="+", default=())
    text = "their file sizes, columns image,bytes; a file for each folder"
    cli.option(group, "--sizes CSV", Path, text, nargs="+", default=())
    text = "delete earlier results of the same names but other versions (default: refuse)"
    cli.switch(group, "--replace", text)


def run(args: argparse.Namespace) -> int:
    """Measure what the command line names; returns the exit status."""
    from onedc.evaluation.frechet import FeatureStore
    from onedc.evaluation.recon import unused
    from onedc.evaluation.run import evaluate
    from onedc.evaluation.summary import replace_section, summarise, write_summary
    from onedc.image import READABLE_SUFFIXES
    from onedc.plugins import load_plugins

    load_plugins(args.plugin)
    images = [Path(source) for entry in args.images for source in expand(entry, READABLE_SUFFIXES)]
    options = _options(args)
    with progress_bar(len(images)) as advance:
        results = evaluate(
            images, options, jobs=args.jobs, replace_others=args.replace, progress=lambda name: advance()
        )
    for line in unused(options.recon, images):
        tell(line)
    for failure in results.failures:
        print_error(f"{failure.image}: {failure.codec + ': ' if failure.codec else ''}{failure.reason}")
    rows = summarise(results.folder, options.metrics, FeatureStore([options.output]).measure)
    text = write_summary(options.output, rows, options.metrics, results.failures, results.unavailable)
    print(text, end="")
    kept = len(results.folder) - len(results.records)
    print(
        f"\n{results.measured} of {len(results.records)} measured now; {kept} of other points and "
        f"{results.replaced} replaced; all of it in {options.output}"
    )
    if args.report is not None:
        replace_section(args.report, args.section, text)
    return 1 if results.failures else 0


def _options(args: argparse.Namespace) -> EvaluationOptions:
    from onedc.evaluation.codecs import Rule, default_cache
    from onedc.evaluation.frechet import PatchGrid
    from onedc.evaluation.plan import OURS, EvaluationOptions

    if "-" in args.images:
        raise UsageError("eval needs files; standard input has no name")
    more = ("lpips_squeeze", "fd_mobilenet") if args.metric_weights else ()
    return cli.given(
        EvaluationOptions,
        args,
        codecs=args.codecs or (() if args.recon else (OURS,)),
        name=OURS if args.recon or not args.name else args.name,
        rule=Rule(args.rule),
        metrics=args.metrics or ("psnr", "ms_ssim", *more),
        patches=PatchGrid(size=args.patch_size, count=args.patch_count),
        recon=tuple(args.recon),
        sizes=tuple(args.sizes),
        recon_name=args.name or "recon",
        plugins=tuple(args.plugin),
        cache=args.cache or default_cache(),
    )
