"""Draw rate-distortion curves and compute BD-rates from folders that onedc eval wrote.

  onedc rd results -o curves
  onedc rd results-ours results-others -o curves --test onedc --metrics lpips_squeeze,psnr --published kodak

BD-rate is per image (PCHIP of log rate over the range that both codecs cover), then the mean over images of
the logarithm of the rate ratio, with a bootstrap interval. Below 10 % of overlap an image gives none. Of
metrics over sets (FDmb, FID, KID) it is that of the two curves. Curves are over the images every point has.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError

if TYPE_CHECKING:
    from onedc.evaluation.curves import Comparison, Curves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc rd` takes."""
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="folders that onedc eval wrote")
    text = "folder for rd.json, rd.md and a PNG per metric"
    cli.option(parser, "-o, --output DIR", Path, text, required=True)
    cli.option(parser, "--test CODEC", str, "codec whose BD-rates are computed (default: the first)")
    cli.option(parser, "--anchor LIST", cli.names, "reference codecs (default: all others)", default=())
    cli.option(parser, "--metrics LIST", cli.names, "metrics to draw (default: all that were measured)")
    cli.option(parser, "--published SET", str, "draw the paper's points too: kodak, clic2020 or coco30k")
    cli.add_report_arguments(parser, "the BD-rates", "bd-rates")
    cli.add_plugin_argument(parser, "metrics")


def run(args: argparse.Namespace) -> int:
    """Draw and compare what the command line names; returns the exit status."""
    from onedc.evaluation.curves import bd_table, load_curves, to_json
    from onedc.evaluation.metrics import check_names
    from onedc.evaluation.plots import draw_curves, published_curves
    from onedc.evaluation.summary import replace_section
    from onedc.files import make_folder, write_whole
    from onedc.plugins import load_plugins

    load_plugins(args.plugin)
    curves = load_curves([Path(folder) for folder in args.results])
    metrics = check_names(args.metrics or curves.metrics)
    if absent := set(metrics) - set(curves.metrics):
        raise UsageError(f"{min(absent)}: not measured in these results ({', '.join(curves.metrics)})")
    published = None if args.published is None else published_curves(args.published)
    images = {metric: curves.common_images(metric) for metric in metrics}
    by_metric = {
        metric: {
            codec: points
            for codec in curves.codecs
            if (points := curves.mean_curve(codec, metric, images[metric]))
        }
        for metric in metrics
    }
    output: Path = args.output
    make_folder(output)
    for metric, by_codec in by_metric.items():
        drawn = draw_curves(metric, by_codec, published, images=len(images[metric]))
        write_whole(output / f"rd-{metric}.png", drawn, force=True)
    comparisons = _comparisons(args, curves, metrics)
    text = bd_table(comparisons, curves.notes(metrics))
    write_whole(output / "rd.md", text.encode(), force=True)
    write_whole(output / "rd.json", to_json(comparisons, by_metric, images).encode(), force=True)
    print(text, end="")
    if args.report is not None:
        replace_section(args.report, args.section, text)
    return 0


def _comparisons(args: argparse.Namespace, curves: Curves, metrics: tuple[str, ...]) -> list[Comparison]:
    from onedc.evaluation.curves import compare

    test = args.test or curves.codecs[0]
    anchors = args.anchor or tuple(codec for codec in curves.codecs if codec != test)
    for codec in (test, *anchors):
        if codec not in curves.codecs:
            raise UsageError(f"{codec}: not among the results ({', '.join(curves.codecs)})")
    return [compare(curves, test, anchor, metric) for metric in metrics for anchor in anchors]
