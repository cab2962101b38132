"""The page that computes in the browser (docs/browser.md), as files of a folder. Knows no codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from onedc.errors import ConfigError

PLACE = "/web"


class _Isolated(StaticFiles):
    """Files with the headers without which browsers give a page no threads."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        return response


def add_web(app: FastAPI, folder: Path) -> None:
    """Serve a built page below `PLACE`.

    Raises:
        ConfigError: there is none in the folder.
    """
    if not (folder / "index.html").is_file():
        raise ConfigError(f"{folder}: holds no index.html; build the page as docs/browser.md says")
    app.mount(PLACE, _Isolated(directory=folder, html=True))
