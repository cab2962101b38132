"""Train a model by a recipe.

  onedc train small-stage1 --data photos/ --nets nets/ --out runs/stage1
  onedc train small-stage1 --data photos/ --nets nets/ --out runs/stage1 --resume --max-minutes 60
  onedc train small-stage1 --set optim.lr=1e-4 data.batch=16 --show
  accelerate launch -m onedc train sd15-stage1 --data hf:FOLDER --nets nets/ --out runs/paper \\
      --set nets.vae=FILE nets.generator=FILE nets.teacher=FILE

--show prints the resolved settings, which are the names that --set takes. A run ends with a checkpoint, also
at the end of --max-minutes or on Ctrl-C, and the same command with --resume goes on exactly there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError
from onedc.cli.streams import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc train` takes."""
    parser.add_argument("recipe", metavar="RECIPE", help='name of a recipe; "list" shows what each is for')
    cli.option(
        parser, "--data PLACE", str, "folder of images or tar shards, a .tar, or hf:, stream: or coco:PLACE"
    )
    cli.option(parser, "--nets FOLDER", Path, "folder of the pretrained networks")
    cli.option(parser, "--out RUN", Path, "folder of the run")
    text = "change settings of the recipe"
    cli.option(parser, "--set NAME=VALUE", str, text, nargs="+", action="extend", default=[])
    cli.switch(parser, "--resume", "go on from the run's last checkpoint, if any")
    cli.option(parser, "--max-minutes M", cli.number, "stop with a checkpoint after this much time")
    cli.switch(parser, "--show", "print the resolved settings and stop")
    cli.add_plugin_argument(parser, "recipes and training stages")


def run(args: argparse.Namespace) -> int:
    """Train; returns the exit status."""
    from onedc.plugins import load_plugins
    from onedc.train.config import apply_settings
    from onedc.train.recipes import find_recipe, listed, with_places

    load_plugins(args.plugin)
    if args.recipe == "list":
        print(listed())
        return 0
    config = with_places(find_recipe(args.recipe), data=args.data, nets=args.nets)
    config = apply_settings(config, args.set)
    if args.show:
        print(json.dumps(config.to_dict(), indent=1))
        return 0
    if args.out is None:
        raise UsageError("--out is missing: name the folder of the run")
    from onedc.train.loop import Trainer

    outcome = Trainer(config, args.out, resume=args.resume, max_minutes=args.max_minutes).run()
    if not outcome.finished:
        tell(f"{args.out}: stopped at step {outcome.step} of {config.run.steps}; --resume goes on")
    return 0
