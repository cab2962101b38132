"""The codec shared by many users: turns and limits."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.pictures import picture

from onedc.cli.main import main
from onedc.engine.protocol import EngineName
from onedc.errors import ConfigError, FormatError, ImageError
from onedc.image import image_bytes
from onedc.loading import load
from onedc.serve.service import BusyError, Limits, Service, TooLargeError

PICTURE = image_bytes(np.full((8, 9, 3), 90, np.uint8))


class SlowCodec:
    """Stands in for a codec: encodes when it is let, and counts how many do so at a time."""

    def __init__(self) -> None:
        self.go, self.entered = threading.Event(), threading.Event()
        self.inside = self.most_inside = 0

    def encode(self, image: Any, *, quality: float, effort: int) -> bytes:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.set()
        assert self.go.wait(20)
        self.inside -= 1
        return b"file"


def test_one_job_at_a_time_and_a_full_queue_refuses() -> None:
    codec = SlowCodec()
    service = Service(codec, Limits(queue=3))  # type: ignore[arg-type]
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(service.encode(PICTURE)[0])) for _ in "123"]
    for thread in threads:
        thread.start()
    assert codec.entered.wait(20)
    while service.jobs < 3:
        time.sleep(0.01)
    with pytest.raises(BusyError, match="busy with 3 jobs"):
        service.encode(PICTURE)
    codec.go.set()
    for thread in threads:
        thread.join()
    assert answers == [b"file"] * 3
    assert codec.most_inside == 1 and service.jobs == 0
    assert service.encode(PICTURE)[0] == b"file"


def test_limits_hold_and_a_refusal_gives_its_place_back() -> None:
    codec = SlowCodec()
    codec.go.set()
    service = Service(codec, Limits(queue=1, pixels=8 * 9 - 1, upload_bytes=len(PICTURE)))  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(ImageError, match="above the limit of 71 pixels"):
            service.encode(PICTURE)
        with pytest.raises(ImageError, match="not a picture"):
            service.encode(b"text")
        with pytest.raises(TooLargeError, match=f"more than the {len(PICTURE)} bytes"):
            service.encode(PICTURE + b"\0")
        with pytest.raises(TooLargeError):
            service.decode(PICTURE + b"\0")


def test_limits_are_checked() -> None:
    with pytest.raises(ConfigError, match="queue 0 must be at least 1"):
        Limits(queue=0)
    with pytest.raises(ConfigError, match="effort 12 is not a whole number"):
        Limits(effort=12)


def test_effort_is_limited() -> None:
    codec = SlowCodec()
    codec.go.set()
    with pytest.raises(ConfigError, match="effort 1: this server takes 0 to 0"):
        Service(codec, Limits(effort=0)).encode(PICTURE, effort=1)  # type: ignore[arg-type]
    assert Service(codec, Limits(effort=1)).encode(PICTURE, effort=1)[0] == b"file"  # type: ignore[arg-type]


@pytest.mark.parametrize("package", ["fastapi", "fastapi_offline", "uvicorn"])
def test_a_missing_extra_is_named(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("onedc.serve.server", "onedc.serve.routes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve"]) == 1
    assert f'{package} is not installed: pip install "onedc[serve]"' in capsys.readouterr().err


def test_a_taken_port_is_refused() -> None:
    pytest.importorskip("fastapi_offline")
    from onedc.serve import server

    with (
        server.listen("127.0.0.1", 0) as taken,
        pytest.raises(ConfigError, match="cannot listen on 127"),
    ):
        server.listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigError, match="cannot listen on no-such-host"):
        server.listen("no-such-host.invalid", 0)


def test_foreign_bytes_are_refused() -> None:
    from onedc.loading import load

    weights = Path(__file__).parents[2] / "conformance" / "fixture.safetensors"
    service = Service(load(weights, precision="fp32"), Limits())
    with pytest.raises(FormatError, match=r"not a \.1dc file"):
        service.decode(b"text")
    encoded, seconds = service.encode(PICTURE, quality=100)
    assert service.decode(encoded)[0].size == (9, 8) and seconds > 0
    with pytest.raises(FormatError):
        service.decode(encoded[:-1])
    with pytest.raises(ConfigError, match="cannot fit in 3 bytes"):
        service.encode(PICTURE, target_bytes=3)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_a_photo_for_a_few_bytes_is_shrunk_and_shown_at_its_own_size(
    engine: EngineName, with_graphs: Path
) -> None:
    service = Service(load(with_graphs, engine=engine, precision="fp32"), Limits())
    data = service.encode(image_bytes(picture(320, 240)), target_bytes=40)[0]
    assert len(data) <= 40 and service.decode(data)[0].width < 320
    assert service.decode(data, full_size=True)[0].size == (320, 240)
