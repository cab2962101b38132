"""The page is served; a built one with the headers that threads need; a folder without one is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from onedc.errors import ConfigError
from onedc.serve.service import Limits, Service

pytest.importorskip("fastapi_offline")


def client(web: Path | None = None) -> Any:
    """Of a server whose codec is not asked for anything."""
    from fastapi.testclient import TestClient

    from onedc.serve.server import make_app

    return TestClient(make_app(Service(None, Limits()), web=web))  # type: ignore[arg-type]


def test_the_page_comes_with_the_package() -> None:
    server = client()
    page = server.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "'unsafe" not in page.headers["content-security-policy"]
    files = re.findall(r'(?:src|href)="(page\.(\w+))"', page.text)
    assert len(files) == 2
    for address, suffix in files:
        answer = server.get(f"/{address}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith({"js": "text/javascript", "css": "text/css"}[suffix])
        assert answer.headers["cache-control"] == "no-cache"


def test_addresses_without_a_page_are_told_apart() -> None:
    server = client()
    assert server.get("/page.txt").status_code == 404
    assert server.get("/encode").status_code == 405
    assert server.get("/..%2Fserver.py").status_code == 404


def test_files_come_with_the_headers_that_threads_need(tmp_path: Path) -> None:
    for name in ("index.html", "runtime.mjs", "runtime.wasm"):
        (tmp_path / name).write_text(name)
    server = client(tmp_path)
    for path, kind in (
        ("/web", "text/html"),
        ("/web/", "text/html"),
        ("/web/runtime.mjs", "text/javascript"),
        ("/web/runtime.wasm", "application/wasm"),
    ):
        answer = server.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert "wasm-unsafe-eval" in answer.headers["content-security-policy"]
    assert server.get("/web/../../etc/passwd").status_code == 404
    assert "cross-origin-embedder-policy" not in server.get("/").headers


def test_a_folder_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no index\.html; build the page"):
        client(tmp_path)
