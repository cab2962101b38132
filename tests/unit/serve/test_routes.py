"""The routes refuse what they would else ignore or guess, in one line."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onedc.image import image_bytes, read_image
from onedc.serve.service import Limits, Service

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


class NoCodec:
    quality_bytes = (0, 255)

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


def test_pictures_are_shown_as_they_are_encoded(client: Any) -> None:
    half = Image.new("RGBA", (9, 8), (0, 0, 0, 0))
    half.save(buffer := io.BytesIO(), "TIFF")
    assert "has transparent places" in client.post("/read", content=buffer.getvalue()).json()["detail"]
    answer = client.post("/read?background=lime", content=buffer.getvalue())
    assert answer.headers["content-type"] == "image/png"
    assert (read_image(answer.content) == [0, 255, 0]).all()


def test_the_state_is_told(client: Any) -> None:
    limits = {"upload_bytes": 32_000_000, "pixels": 16_000_000, "queue": 16, "effort": 3}
    assert client.get("/status").json() == {"jobs": 0, "qualities": 2, **limits}


def test_forms_are_refused_with_the_way_to_send(client: Any) -> None:
    answer = client.post("/encode", files={"file": b"x"})
    assert answer.status_code == 400 and "--data-binary @FILE" in answer.json()["detail"]


def test_no_program_is_started_by_what_is_sent(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *args, **kwargs: pytest.fail("a program was started"))
    answer = client.post("/encode", content=EPS)
    assert answer.status_code == 400 and "not a picture" in answer.json()["detail"]
