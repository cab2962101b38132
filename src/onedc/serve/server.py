"""The web server: the routes, the pages and what keeps them private, run until a signal ends them.

Knows where things hang together, not what they do.
"""

from __future__ import annotations

import mimetypes
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline

from onedc import __version__
from onedc.errors import ConfigError
from onedc.serve.routes import add_routes
from onedc.serve.service import Service

PAGE = Path(__file__).parent / "page"
"""Text and style of both pages, and the script of the one that has the server compute."""
mimetypes.add_type("text/javascript", ".js")  # browsers run no module of another type; systems know others

_POLICY = "default-src 'self'; img-src 'self' blob: data:; form-action 'self'; base-uri 'self'"
"""Content security policy: browsers ask no other host for anything, whatever a page links to."""
_HEADERS = {
    "": {
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",  # never files of two versions
    },
    "/docs": {
        "Content-Security-Policy": _POLICY
        + "; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
    },
    "/web": {
        "Content-Security-Policy": _POLICY
        + "; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:",
        "Cross-Origin-Opener-Policy": "same-origin",  # without these two browsers give a page no threads
        "Cross-Origin-Embedder-Policy": "require-corp",
    },
}
"""Headers of what lies at and below each address; the last one that fits counts."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any free one. Raises ConfigError."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}") from error


def serve(
    service: Service, listener: socket.socket, started: Callable[[], None], *, web: Path | None = None
) -> None:
    """Serve page and routes until SIGINT or SIGTERM; `started` is called when both are ready.

    What users send is kept in memory alone.

    Args:
        web: folder of the page that computes in the browser (docs/browser.md), to be served too.

    Raises:
        ConfigError: no such page.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when all is done
    config = uvicorn.Config(
        make_app(service, web=web), log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )
    started()
    uvicorn.Server(config).run(sockets=[listener])


def make_app(service: Service, *, web: Path | None = None) -> Any:
    """The FastAPI application; `web` is as for `serve`. Raises ConfigError."""
    app = FastAPIOffline(
        title="onedc", version=__version__, description="Photos to .1dc files and back.", redoc_url=None
    )
    add_routes(app, service)
    if web is not None:
        if not (web / "index.html").is_file():
            raise ConfigError(f"{web}: holds no index.html; build the page as docs/browser.md says")
        app.mount("/web", StaticFiles(directory=web, html=True))
    # Not mounted at "/", which would take /web from the redirection to /web/, and GET /encode from its 405.
    app.router.default = StaticFiles(directory=PAGE, html=True)

    @app.middleware("http")
    async def add_headers(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        for place, headers in _HEADERS.items():
            if f"{request.url.path}/".startswith(f"{place}/"):
                response.headers.update(headers)
        return response

    return app
