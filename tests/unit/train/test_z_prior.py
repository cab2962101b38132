"""The fitted prior of z: what it gains, what the conversion costs, and `onedc fit-z`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conformance.fixture_model import FIXTURE

from onedc.cli.main import main
from onedc.entropy.z_prior import Integers, LearnedZPrior, near_levels
from onedc.loading import load
from onedc.train.z_prior import FitConfig, ZPriorTwin, fit_levels, position_bits
from onedc.weights.file import load_weights


def smooth_levels(seed: int, count: int) -> list[Integers]:
    """Made-up z whose positions resemble those beside and above them, and whose dimensions go together."""
    rng = np.random.default_rng(seed)
    photos = []
    for _ in range(count):
        field = np.cumsum(np.cumsum(rng.normal(0, 0.3, (8, 12, 1)), axis=0), axis=1)
        photos.append(np.digitize(field + rng.normal(0, 0.3, (8, 12, 7)), [-1, 0, 1]))
    return photos


def test_a_fitted_prior_pays_on_photos_it_never_saw_and_loses_nothing_as_integers() -> None:
    twin = fit_levels(smooth_levels(1, 40), FitConfig(hidden=16))
    held_out = smooth_levels(2, 10)
    bits = position_bits(LearnedZPrior(twin.integers()), held_out)
    near = torch.from_numpy(np.concatenate([near_levels(levels) for levels in held_out]))
    own = torch.from_numpy(np.concatenate([levels.reshape(-1, 7) for levels in held_out]))
    assert bits < 8
    assert abs(bits - float(twin.bits(near, own).detach())) < 0.05


def test_an_unfitted_prior_of_zeros_takes_14_bits() -> None:
    integers = {name: np.zeros_like(value) for name, value in ZPriorTwin(4).integers().items()}
    assert position_bits(LearnedZPrior(integers), smooth_levels(1, 2)) == pytest.approx(14)


def test_fit_z_writes_weights_that_code_z_in_less(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "z.safetensors"
    command = ["fit-z", str(FIXTURE), "--data", str(shards), "-o", str(output), "--held-out", "p-00,p-11"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "on 7 photos fitted to" in said
    assert "on 2 held out" in said
    first = load_weights(output)
    assert main([*command, "--force"]) == 0
    assert load_weights(output).seam_sha256 == first.seam_sha256
    picture = np.full((512, 256, 3), 90, np.uint8)
    codecs = [load(path, precision="fp32") for path in (FIXTURE, output)]
    before, after = (codec.encode(picture, quality=0) for codec in codecs)
    assert len(after) < len(before)
    assert np.array_equal(*(c.decode(c.encode(picture), output="numpy") for c in codecs))


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        (["--photos", "0"], 2, "--photos 0 must be at least 1"),
        (["--data", "/nowhere"], 2, "does not exist"),
        (["-o", str(FIXTURE)], 1, "exists already"),
    ],
)
def test_mistakes_are_one_line(
    shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    status: int,
    message: str,
) -> None:
    command = ["fit-z", str(FIXTURE), "--data", str(shards), "-o", str(tmp_path / "z.safetensors")]
    assert main([*command, *change]) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_is_no_weights_file_is_refused(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    assert main(["fit-z", str(bad), "--data", str(shards), "-o", str(tmp_path / "z.safetensors")]) == 1
    assert "not a readable safetensors file" in capsys.readouterr().err
