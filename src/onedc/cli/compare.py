"""Show one picture as the original, coded by onedc, and coded by other codecs in as many bytes.

  onedc compare photo.jpg                    writes photo-compare.html and photo-compare.png
  onedc compare photo.jpg -q 20 --against webp,avif,vvc -o shown.html

The page has a slider and the regions that differ most; it opens from disk and needs no network. A codec that
cannot reach that size is shown with its smallest file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onedc.cli import arguments as cli
from onedc.cli.jobs import Job, UsageError, check_targets
from onedc.cli.streams import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc compare` takes."""
    parser.add_argument("image", metavar="IMAGE", help="a picture file")
    text = "the page; the PNG goes beside it (default: IMAGE-compare.html)"
    cli.option(parser, "-o, --output HTML", str, text)
    cli.option(parser, "-q, --quality Q", cli.quality, "quality of onedc, 0..100 (default 50)", default=50.0)
    text = "any of jpeg, webp, avif, jxl, vvc, hevc (default: webp,avif)"
    cli.option(parser, "--against LIST", cli.names, text, default=("webp", "avif"))
    cli.option(parser, "--metric-weights DIR", Path, "folder of the LPIPS network; adds LPIPS")
    cli.add_force(parser)
    cli.add_model_arguments(parser)
    cli.add_plugin_argument(parser, "codecs")


def run(args: argparse.Namespace) -> int:
    """Write the page and the PNG; returns the exit status."""
    from onedc.evaluation.codecs import default_cache
    from onedc.evaluation.compare import compare_picture, to_html, to_png
    from onedc.evaluation.plan import EvaluationOptions
    from onedc.files import refuse_existing, write_whole
    from onedc.plugins import load_plugins

    load_plugins(args.plugin)
    image = Path(args.image)
    page = Path(args.output) if args.output else image.with_name(f"{image.stem}-compare.html")
    outputs = (page, page.with_suffix(".png"))
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o {page}: name the page, an .html file; its .png goes beside it")
    check_targets(Job(str(image), str(path)) for path in outputs)
    for path in outputs:
        refuse_existing(path, force=args.force)
    metrics = ("psnr", "ms_ssim", *(("lpips_squeeze",) if args.metric_weights else ()))
    asked = {"output": Path(), "qualities": (args.quality,), "metrics": metrics, "cache": default_cache()}
    options = cli.given(EvaluationOptions, args, **asked)
    if sys.stderr.isatty():
        tell(f"{image}: onedc, {', '.join(args.against)}")
    comparison = compare_picture(image, options)
    for path, data in zip(outputs, (to_html(comparison).encode(), to_png(comparison)), strict=True):
        write_whole(path, data, force=args.force)
        print(path)
    for panel in comparison.panels:
        print(f"  {panel.name}: {', '.join(panel.facts)}")
    for note in comparison.notes:
        print(f"  {note}")
    return 0
