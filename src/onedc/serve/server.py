"""The web server: the routes, the page and what keeps them private, run until a signal ends them.

Knows where things hang together, not what they do.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onedc.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from onedc.serve.service import Service

_POLICY = "; ".join(
    (
        "default-src 'self' data: blob:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "form-action 'self'",
        "base-uri 'self'",
    )
)
"""Content security policy: browsers ask no other host for anything, whatever a library's page links to."""

KEPT_S = 600.0
"""Files of users are deleted when they are older."""
SWEEP_S = 60.0


def check_extra() -> None:
    """Raise MissingExtraError unless the packages of the extra are there."""
    if any(find_spec(name) is None for name in ("gradio", "fastapi_offline")):
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

    What users send is kept in memory and in one temporary folder, which goes when the server does.

    Args:
        web: folder of the page that computes in the browser, to be served too.

    Raises:
        ConfigError: no such page.
    """
    import uvicorn

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # unwinds, so that the folder is removed
    with tempfile.TemporaryDirectory(prefix="onedc-serve-", ignore_cleanup_errors=True) as folder:
        app = make_app(service, folder, web=web)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
        with _sweeping(Path(folder)):
            started()
            uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _sweeping(folder: Path) -> Iterator[None]:
    """Sweep again and again in the background."""
    ended = threading.Event()

    def again() -> None:
        while not ended.wait(SWEEP_S):
            sweep(folder, KEPT_S)

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def sweep(folder: Path, kept_s: float) -> None:
    """Delete what lies below a folder and is older than `kept_s` seconds: files, and folders without any."""
    oldest_s = time.time() - kept_s
    for path in sorted(folder.rglob("*"), reverse=True):  # what lies in a folder before the folder
        with suppress(OSError):  # gone already, or a folder in use
            if path.stat().st_mtime < oldest_s:
                path.rmdir() if path.is_dir() else path.unlink()


def make_app(service: Service, folder: str, *, web: Path | None = None) -> Any:
    """The FastAPI application; `folder` takes the files of the page, `web` is as for `serve`.

    Raises:
        MissingExtraError: the extra is not installed.
        ConfigError: no page in `web`.
    """
    check_extra()
    os.environ["GRADIO_TEMP_DIR"] = folder  # read by gradio when the page is built
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

    from fastapi_offline import FastAPIOffline

    from onedc import __version__
    from onedc.serve.page import mount_page
    from onedc.serve.routes import add_routes
    from onedc.serve.web import add_web

    app = FastAPIOffline(
        title="onedc", version=__version__, description="Photos to .1dc files and back.", redoc_url=None
    )
    add_routes(app, service)
    if web is not None:
        add_web(app, web)
    mounted = mount_page(app, service)

    @mounted.middleware("http")
    async def keep_to_this_host(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return mounted
