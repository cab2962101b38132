"""Serve a page that encodes and decodes, and the same as HTTP routes for programs.

  onedc serve                             then open http://127.0.0.1:7860
  onedc serve --host 0.0.0.0 --port 8000  for the whole network; there are no passwords

  curl --data-binary @photo.jpg 'http://127.0.0.1:7860/encode?quality=40' -o photo.1dc
  curl --data-binary @photo.1dc http://127.0.0.1:7860/decode -o photo.png

The routes are described at /docs. The page loads nothing from other hosts, and nothing that users send is
written to disk. Needs the extra: pip install 'onedc[serve]'.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from onedc.cli import arguments as cli


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc serve` takes."""
    cli.option(
        parser, "--host", str, "address to listen on (default: this machine only)", default="127.0.0.1"
    )
    port = cli.checked(int, range(65536).__contains__, "a port, 0 to 65535")
    cli.option(parser, "--port N", port, "default 7860; 0 takes any free one", default=7860)
    text = "serve the built page that computes in the browser, too, at /web/ (docs/browser.md)"
    cli.option(parser, "--web FOLDER", Path, text)
    limits = parser.add_argument_group("limits")
    text = "largest upload, in 10^6 bytes (default 32)"
    cli.option(limits, "--max-upload-mb N", cli.positive, text, default=32.0)
    cli.option(limits, "--max-megapixels N", cli.positive, "largest picture (default 16)", default=16.0)
    cli.option(
        limits, "--queue N", cli.whole, "most jobs that wait or run at a time (default 16)", default=16
    )
    text = "highest effort that the route accepts, since others wait for it (default 3)"
    cli.option(limits, "--max-effort N", cli.effort, text, default=3)
    cli.add_model_arguments(parser, engines=True)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; returns the exit status."""
    from onedc.serve.server import listen, serve
    from onedc.serve.service import Limits, Service

    with listen(args.host, args.port) as listener:
        codec = cli.codec_of(args)
        limits = Limits(
            upload_bytes=int(args.max_upload_mb * 1e6),
            pixels=int(args.max_megapixels * 1e6),
            queue=args.queue,
            effort=args.max_effort,
        )
        host = f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{host}:{listener.getsockname()[1]}"

        def started() -> None:
            print(f"onedc serves at {address}", flush=True)

        serve(Service(codec, limits), listener, started, web=args.web)
    return 0
