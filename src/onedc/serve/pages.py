"""The page, and the one that computes in the browser (docs/browser.md), as files. Knows no codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from onedc.errors import ConfigError

PAGE = Path(__file__).parent / "page"
"""Text and style of both pages, and the script of the one that has the server compute."""
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
WEB_PLACE = "/web"


def add_page(app: FastAPI) -> None:
    """Serve the page at "/"."""
    for address, (name, kind) in _FILES.items():
        app.add_route(address, _sending(PAGE / name, kind))


def _sending(path: Path, kind: str) -> Any:
    headers = {"Cache-Control": "no-cache"}  # never files of two versions

    async def send(request: Request) -> Response:
        return FileResponse(path, media_type=kind, headers=headers)

    return send


class _Isolated(StaticFiles):
    """Files with the headers without which browsers give a page no threads."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        return response


def add_web(app: FastAPI, folder: Path) -> None:
    """Serve a built page that computes in the browser, below `WEB_PLACE`.

    Raises:
        ConfigError: there is none in the folder.
    """
    if not (folder / "index.html").is_file():
        raise ConfigError(f"{folder}: holds no index.html; build the page as docs/browser.md says")
    app.mount(WEB_PLACE, _Isolated(directory=folder, html=True))
