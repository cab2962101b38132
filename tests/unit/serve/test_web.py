"""A built page is served with the headers that threads need; a folder without one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from onedc.errors import ConfigError

fastapi = pytest.importorskip("fastapi")


def test_files_come_with_the_headers_that_threads_need(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from onedc.serve.web import add_web

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
    from onedc.serve.web import add_web

    with pytest.raises(ConfigError, match=r"holds no index\.html; build the page"):
        add_web(fastapi.FastAPI(), tmp_path)
