"""The web server: the routes, the pages and what keeps them private, run until a signal ends them.

Knows where things hang together, not what they do.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onedc.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from onedc.serve.service import Service

_POLICY = "default-src 'self'; img-src 'self' blob: data:; form-action 'self'; base-uri 'self'"
"""Content security policy: browsers ask no other host for anything, whatever a page links to."""
_MORE = {
    "/docs": "; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'",
    "/web": "; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:",
}
"""What pages at these addresses may beyond it."""


def check_extra() -> None:
    """Raise MissingExtraError unless the packages of the extra are there."""
    if any(find_spec(name) is None for name in ("fastapi", "fastapi_offline", "uvicorn")):
        raise MissingExtraError("serving needs more packages: pip install 'onedc[serve]'")


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
        web: folder of the page that computes in the browser, to be served too.

    Raises:
        ConfigError: no such page.
    """
    import uvicorn

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when all is done
    config = uvicorn.Config(
        make_app(service, web=web), log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )
    started()
    uvicorn.Server(config).run(sockets=[listener])


def make_app(service: Service, *, web: Path | None = None) -> Any:
    """The FastAPI application; `web` is as for `serve`.

    Raises:
        MissingExtraError: the extra is not installed.
        ConfigError: no page in `web`.
    """
    check_extra()
    from fastapi_offline import FastAPIOffline

    from onedc import __version__
    from onedc.serve.pages import add_page, add_web
    from onedc.serve.routes import add_routes

    app = FastAPIOffline(
        title="onedc", version=__version__, description="Photos to .1dc files and back.", redoc_url=None
    )
    add_routes(app, service)
    add_page(app)
    if web is not None:
        add_web(app, web)

    @app.middleware("http")
    async def keep_to_this_host(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        path = request.url.path
        more = "".join(text for place, text in _MORE.items() if path == place or path.startswith(f"{place}/"))
        response.headers["Content-Security-Policy"] = _POLICY + more
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return app
