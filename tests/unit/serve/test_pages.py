"""The page is served; a built one with the headers that threads need; a folder without one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onedc.errors import ConfigError
from onedc.serve import server
from onedc.serve.service import Limits, Service

fastapi = pytest.importorskip("fastapi")


def test_the_page_comes_with_the_package() -> None:
    from fastapi.testclient import TestClient

    app = server.make_app(Service(None, Limits()))  # type: ignore[arg-type]
    client = TestClient(app)
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "'unsafe" not in page.headers["content-security-policy"]
    files = re.findall(r'(?:src|href)="(page\.(\w+))"', page.text)
    assert len(files) == 2
    for address, suffix in files:
        answer = client.get(f"/{address}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith({"js": "text/javascript", "css": "text/css"}[suffix])
        assert answer.headers["cache-control"] == "no-cache"


def test_files_come_with_the_headers_that_threads_need(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from onedc.serve.pages import add_web

    for name in ("index.html", "runtime.mjs", "runtime.wasm"):
        (tmp_path / name).write_text(name)
    app = fastapi.FastAPI()
    add_web(app, tmp_path)
    client = TestClient(app)
    for path, kind in (
        ("/web/", "text/html"),
        ("/web/runtime.mjs", "text/javascript"),
        ("/web/runtime.wasm", "application/wasm"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
    assert client.get("/web/../../etc/passwd").status_code == 404


def test_a_folder_without_a_page_is_refused(tmp_path: Path) -> None:
    from onedc.serve.pages import add_web

    with pytest.raises(ConfigError, match=r"holds no index\.html; build the page"):
        add_web(fastapi.FastAPI(), tmp_path)
