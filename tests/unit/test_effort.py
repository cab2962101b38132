"""Encoder-side effort: a better picture for its bits in a file like any other; on the bundled model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture
from tests.e2e.exactness import threads

from onedc.batch.run import Batch
from onedc.batch.work import Spec
from onedc.cli.main import build_parser
from onedc.codec import Codec
from onedc.effort import refine
from onedc.engine.torch_engine import to_tensor, torch_engine_of
from onedc.errors import ConfigError, ImageError, WeightsError
from onedc.latents import BEYOND_FROM
from onedc.loading import load
from onedc.model import taef2, tile_layout
from onedc.pretrained.table import LPIPS_SQUEEZE_FILE

PHOTO = Path(__file__).parents[2] / "examples" / "photo.webp"
QUALITY = 75.0
STEP = 10.0


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(engine="torch", precision="fp32", threads=1)


@pytest.fixture(scope="module")
def fixture_codec() -> Codec:
    return load(FIXTURE, precision="fp32")


def crop(top: int, left: int) -> NDArray[np.uint8]:
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB"))[top : top + 64, left : left + 64]


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return crop(200, 200)


@torch.no_grad()
def distortion(codec: Codec, original: NDArray[np.uint8], data: bytes) -> float:
    """What effort counts without a network that judges, of the picture that a decoder shows."""
    pair = [to_tensor(x) for x in (original, codec.decode(data, output="numpy"))]
    wanted, found = (torch_engine_of(codec.model).nets.vae.encode(x[..., :64, :64]) for x in pair)
    return float(3 * (pair[0] - pair[1]).abs().mean() + 0.7 * (wanted - found).abs().mean())


def bytes_saved(codec: Codec, photo: NDArray[np.uint8]) -> float:
    """Share of a file's bytes that effort 3 is worth, at the price that the qualities near have a byte at."""
    plain, refined = (codec.encode(photo, quality=QUALITY, effort=effort) for effort in (0, 3))
    low, high = (codec.encode(photo, quality=QUALITY + step) for step in (-STEP, STEP))
    ends = distortion(codec, photo, low), distortion(codec, photo, high)
    weight = (ends[0] - ends[1]) / (len(high) - len(low))
    assert weight > 0
    losses = [distortion(codec, photo, data) + weight * len(data) for data in (plain, refined)]
    return (losses[0] - losses[1]) / weight / len(plain)


def test_effort_buys_a_better_picture_for_its_bits(codec: Codec) -> None:
    saved = [bytes_saved(codec, crop(top, left)) for top, left in ((200, 200), (300, 500))]
    assert np.mean(saved) > 0.05 and min(saved) > 0, f"{saved} of the bytes saved"


@pytest.mark.parametrize("count", [1, 2])
def test_the_same_bytes_twice_with_the_same_threads(
    codec: Codec, photo: NDArray[np.uint8], count: int
) -> None:
    with threads(count):
        first, again = (codec.encode(photo, quality=QUALITY, effort=1) for _ in range(2))
    assert first == again


def test_another_decoder_reads_the_file(codec: Codec, photo: NDArray[np.uint8]) -> None:
    data = codec.encode(photo, quality=QUALITY, effort=1)
    other = load(precision="bf16").decode(data, output="numpy")
    assert abs(other.astype(int) - codec.decode(data, output="numpy")).mean() < 3


def test_no_effort_is_one_pass(fixture_codec: Codec) -> None:
    x = picture(90, 70)
    assert fixture_codec.encode(x, effort=0) == fixture_codec.encode(x)
    assert fixture_codec.encode(x, quality=0, effort=4) == fixture_codec.encode(x, quality=0)


def test_what_is_found_is_what_is_written(fixture_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    whole = refine.Search.run

    def kept(self: refine.Search, *args: Any) -> torch.Tensor:
        found.append(whole(self, *args))
        return found[-1]

    monkeypatch.setattr(refine.Search, "run", kept)
    monkeypatch.setattr(refine.Search, "_bit_weight", lambda self, byte: 1e-3)
    x = picture(90, 70)
    data = fixture_codec.encode(x, quality=BEYOND_FROM / 2.55, effort=2)
    assert data != fixture_codec.encode(x, quality=BEYOND_FROM / 2.55)
    decoded = []
    engine = fixture_codec.model.engine
    synthesise = engine.synthesise
    monkeypatch.setattr(
        engine,
        "synthesise",
        lambda y_hat, *rest, **how: decoded.append(y_hat) or synthesise(y_hat, *rest, **how),
    )
    fixture_codec.decode(data)
    difference = engine.seam.gained(decoded[0], BEYOND_FROM) - found[0].numpy()
    assert abs(difference).max() < 0.01  # quantisation steps


@pytest.mark.parametrize("side", [1, 64])
def test_pictures_without_detail_come_back(codec: Codec, side: int) -> None:
    black = np.zeros((side, side, 3), np.uint8)
    assert codec.decode(codec.encode(black, effort=1)).size == (side, side)


def test_progress_is_told_of_each_step(codec: Codec, photo: NDArray[np.uint8]) -> None:
    told = []
    codec.encode(photo, effort=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_a_target_holds_with_effort(fixture_codec: Codec) -> None:
    x = picture(120, 100)
    target = len(fixture_codec.encode(x, quality=QUALITY))
    data = fixture_codec.encode_to_size(x, target, effort=1)
    assert 0.9 * target < len(data) <= target
    assert data != fixture_codec.encode_to_size(x, target)


@pytest.mark.parametrize("effort", [-1, 10, 2.0, True, "3", None])
def test_what_is_no_effort_is_refused(fixture_codec: Codec, effort: Any) -> None:
    with pytest.raises(ConfigError, match=r"effort .* is not a whole number from 0 to 9"):
        fixture_codec.encode(picture(8, 8), effort=effort)
    with pytest.raises(ConfigError, match="effort"):
        fixture_codec.encode_to_size(picture(8, 8), 1000, effort=effort)


def test_a_model_of_a_single_rate_is_refused(fixture_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixture_codec, "config", replace(fixture_codec.config, quality_knots=0))
    with pytest.raises(ConfigError, match="effort 1: this model has no range of qualities"):
        fixture_codec.encode(picture(8, 8), effort=1)


def test_large_pictures_are_refused_before_any_work(fixture_codec: Codec) -> None:
    with pytest.raises(ImageError, match=r"1024x1025 px; effort above 0 takes up to 1.0 megapixels"):
        fixture_codec.encode(np.zeros((1025, 1024, 3), np.uint8), effort=1)


def test_metric_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=LPIPS_SQUEEZE_FILE):
        load(FIXTURE, metric_weights=tmp_path)


@pytest.mark.parametrize("text", ["10", "-1", "1.5", "high", ""])
@pytest.mark.parametrize("command", [["encode", "a.png"], ["batch", "a", "b"]])
def test_the_command_line_refuses_it_in_one_line(
    command: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([*command, f"--effort={text}"])
    assert stop.value.code == 2
    assert f"{text!r} is not a whole number in 0..9" in capsys.readouterr().err


def test_a_batch_goes_on_with_its_effort_only(tmp_path: Path) -> None:
    source, target = tmp_path / "photos", tmp_path / "coded"
    source.mkdir()
    Image.fromarray(picture(70, 64)).save(source / "a.png")
    spec = Spec(weights=str(FIXTURE), precision="fp32", effort=1)
    assert Batch(source, target, spec).run().done == 1
    assert (target / "a.1dc").read_bytes() == load(FIXTURE, precision="fp32").encode(
        picture(70, 64), effort=1
    )
    with pytest.raises(ConfigError, match="effort"):
        Batch(source, target, replace(spec, effort=2))


def test_tiles_of_the_autoencoder_have_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vae = taef2.TAEF2(width=16).requires_grad_(False)
    latents = torch.randn(1, 32, 24, 16)
    gradients = []
    for limit in (tile_layout.WHOLE_PX, 0):
        monkeypatch.setattr(tile_layout, "WHOLE_PX", limit)
        vae.tiles_out = vae.tiles_out._replace(side=16)
        wanted = latents.clone().requires_grad_(True)
        vae.decode(wanted).square().mean().backward()
        gradients.append(wanted.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-7)


def test_the_autoencoder_tells_pictures_apart() -> None:
    torch.manual_seed(0)
    vae, x = taef2.TAEF2(width=16).requires_grad_(False), torch.rand(2, 3, 32, 48) * 2 - 1
    noise = torch.stack([torch.zeros(3, 32, 48), torch.randn(3, 32, 48)])
    moved = (x + 0.2 * noise).requires_grad_(True)
    seen = vae.features(moved)
    assert [tuple(t.shape) for t in seen] == [(2, 16, 32, 48), (2, 16, 16, 24), (2, 16, 8, 12)]
    distance = vae.distance(seen, vae.features(x))
    assert distance[0] == 0 < distance[1]
    distance.sum().backward()
    assert moved.grad is not None and moved.grad[1].abs().max() > 0
