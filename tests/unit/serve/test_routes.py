"""The routes refuse what they would else ignore or guess, in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onedc.image import image_bytes
from onedc.serve.service import Limits, Service

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


class NoCodec:
    def encode(self, image: Any, **options: Any) -> bytes:
        return b"file"


@pytest.fixture
def client() -> Any:
    fastapi = pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from onedc.serve.routes import add_routes

    app = fastapi.FastAPI()
    add_routes(app, Service(NoCodec(), Limits()))  # type: ignore[arg-type]
    return TestClient(app)


def test_unknown_fields_are_refused(client: Any) -> None:
    picture = image_bytes(np.full((8, 9, 3), 90, np.uint8))
    assert client.post("/encode?quality=5", content=picture).content == b"file"
    for path in ("/encode?qualty=5", "/encode?quality=5&preview=1", "/decode?quality=5"):
        answer = client.post(path, content=picture)
        assert answer.status_code == 400 and answer.json()["detail"].startswith("unknown field ")


def test_forms_are_refused_with_the_way_to_send(client: Any) -> None:
    answer = client.post("/encode", files={"file": b"x"})
    assert answer.status_code == 400 and "--data-binary @FILE" in answer.json()["detail"]


def test_no_program_is_started_by_what_is_sent(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *args, **kwargs: pytest.fail("a program was started"))
    answer = client.post("/encode", content=EPS)
    assert answer.status_code == 400 and "not a picture" in answer.json()["detail"]
