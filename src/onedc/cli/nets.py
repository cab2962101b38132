"""List, fetch, convert and check the pretrained networks that recipes and metrics need.

  onedc nets list                                      names, sources and licences
  onedc nets fetch paper --to nets/                    fetch and convert what the paper's recipes need
  onedc nets fetch sd-vae --to nets/ --from OWNER/NAME   from another repository, or from a folder
  onedc nets convert lpips-vgg vgg16-397923af.pth vgg.pth --to nets/
  onedc nets check nets/                               whether the files are whole and of these networks
  onedc train sd15-stage1 --data ... --nets nets/ --out ...

A name is one of the list, or "paper" or "small" for all that the recipes of that model need. Files are read
as plain tensors: nothing in them is ever run. HF_ENDPOINT names another hub, HF_TOKEN a token.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError
from onedc.cli.streams import print_error, tell

if TYPE_CHECKING:
    from onedc.pretrained.conversion import State
    from onedc.pretrained.table import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc nets` takes."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="names, sources and licences")
    listing.add_argument("names", nargs="*", metavar="NAME")
    listing.set_defaults(run=_list)
    fetch = actions.add_parser("fetch", help="fetch published files and convert them")
    fetch.add_argument("names", nargs="+", metavar="NAME")
    text = "another hub id OWNER/NAME, or a folder; of one network"
    cli.option(fetch, "--from PLACE", str, text, dest="place")
    cli.switch(fetch, "--estimate", "say what there is to fetch and stop")
    fetch.set_defaults(run=_fetch)
    convert = actions.add_parser("convert", help="convert published files that are here")
    convert.add_argument("name", metavar="NAME")
    text = "the published files, in the order of `list`"
    convert.add_argument("files", nargs="+", metavar="FILE", help=text)
    convert.set_defaults(run=_convert)
    for action in (fetch, convert):
        cli.option(action, "--to FOLDER", Path, "the folder of the networks", required=True)
        cli.add_force(action, "replace what is there")
    check = actions.add_parser("check", help="whether a folder's files are whole and of these networks")
    check.add_argument("folder", metavar="FOLDER", type=Path)
    check.add_argument("names", nargs="*", metavar="NAME", help="networks that must be there")
    check.set_defaults(run=_check)


def _list(args: argparse.Namespace) -> int:
    from onedc.pretrained.table import find_networks

    for network in find_networks(args.names):
        print(f"{network.name}: {network.what}")
        field = f", nets.{network.setting}" if network.setting else ""
        print(f"    {network.file}{field}; {_size(network.size)} to fetch; {network.licence}")
        for source in network.sources:
            inside = f" {' '.join(source.inside)}" if source.inside else ""
            known = f" (sha256 {source.sha256[:12]}...)" if source.sha256 else ""
            print(f"    from {source.place}{inside}{known}")
        if network.note:
            print(f"    {network.note}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from onedc.pretrained.table import find_networks

    networks = find_networks(args.names)
    if args.place and len(networks) != 1:
        raise UsageError("--from is of one network; name it alone")
    absent = [network for network in networks if args.force or not (args.to / network.file).exists()]
    wanted = [network for network in absent if network.fetched or args.place]
    total = sum(network.size for network in wanted)
    tell(f"{len(wanted)} of {len(networks)} networks to fetch, {_size(total)}, to {args.to}")
    if args.estimate:
        return 0
    from onedc.pretrained.fetching import fetch_network

    for network in wanted:
        _tell_written(network, *fetch_network(network, args.to, tell, args.place or ""))
    for network in absent:
        if network not in wanted:
            print_error(f"{network.name}: not fetched: {network.note}")
    return int(len(wanted) < len(absent))


def _convert(args: argparse.Namespace) -> int:
    from onedc.files import refuse_existing
    from onedc.pretrained.conversion import convert_network
    from onedc.pretrained.table import find_networks

    networks = find_networks([args.name])
    if len(networks) != 1 or len(args.files) not in {1, len(networks[0].sources)}:
        raise UsageError(f"{args.name}: takes the files that `onedc nets list {args.name}` shows")
    if not (args.to / networks[0].file).is_dir() or not args.force:
        refuse_existing(args.to / networks[0].file, force=args.force)
    _tell_written(networks[0], *convert_network(networks[0], args.files, args.to))
    return 0


def _check(args: argparse.Namespace) -> int:
    if not args.folder.is_dir():
        raise UsageError(f"{args.folder}: no such folder")
    from onedc.pretrained.conversion import check_network
    from onedc.pretrained.table import find_networks

    status = 0
    for network in find_networks(args.names):
        state = check_network(network, args.folder)
        if state.fault:
            print_error(state.fault)
        else:
            print(f"{network.name}: {_verdict(state)}", flush=True)
        status |= bool(state.fault or (args.names and not state.there))
    return int(status)


def _verdict(state: State) -> str:
    if not state.there:
        return f"not there ({state.path})"
    seen = ", the file that was seen before" if state.known else ""
    return f"{state.path} is whole{seen}; sha256 {state.sha256[:12]}..."


def _tell_written(network: Network, path: Path, notes: tuple[str, ...]) -> None:
    print("; ".join((f"{network.name}: {path}", *notes)), flush=True)


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
