"""The codec with a learned prior of z in its weights: the fixture model and random integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.conformance.fixture_model import FIXTURE, MODEL_ID
from tests.conformance.pictures import picture
from tests.unit.z_integers import z_integers

from onedc.codec import Codec
from onedc.container.header import Header
from onedc.container.packing import pack
from onedc.entropy.z_prior import LearnedZPrior, UniformZPrior
from onedc.errors import FormatError, OutputError, WeightsError
from onedc.loading import load
from onedc.weights.file import load_weights, read_content, save_changed, trainable_tensors

PICTURE = picture(200, 150)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture's weights with a prior of z."""
    path = tmp_path_factory.mktemp("weights") / "with-prior.safetensors"
    integers = {name: torch.from_numpy(value) for name, value in z_integers(1).items()}
    save_changed(read_content(FIXTURE), path, z_prior=integers, force=False)
    return path


@pytest.fixture(scope="module")
def codec(file: Path) -> Codec:
    return load(file, precision="fp32")


@pytest.fixture(scope="module")
def plain() -> Codec:
    return load(FIXTURE, precision="fp32")


def test_only_the_prior_and_the_digest_differ(codec: Codec, plain: Codec, file: Path, tmp_path: Path) -> None:
    assert isinstance(codec.model.z_prior, LearnedZPrior)
    assert isinstance(plain.model.z_prior, UniformZPrior)
    assert codec.model.fingerprint != plain.model.fingerprint
    save_changed(read_content(file), tmp_path / "back.safetensors", z_prior={}, force=False)
    assert load_weights(tmp_path / "back.safetensors").seam_sha256 == load_weights(FIXTURE).seam_sha256
    floats, others = trainable_tensors(file)[1], trainable_tensors(FIXTURE)[1]
    assert floats.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in floats.items())


@pytest.mark.parametrize("quality", [0, 50])
def test_pictures_are_those_of_the_uniform_code(codec: Codec, plain: Codec, quality: float) -> None:
    data = codec.encode(PICTURE, quality=quality)
    assert np.array_equal(
        codec.decode(data, output="numpy"),
        plain.decode(plain.encode(PICTURE, quality=quality), output="numpy"),
    )


def test_previews_cuts_and_batches(codec: Codec) -> None:
    batch = [PICTURE, picture(210, 140, seed=2)]
    files = codec.encode_batch(batch, quality=50)
    assert files == [codec.encode(image, quality=50) for image in batch]
    z_alone = codec.encode(PICTURE, quality=0)
    wanted = codec.decode(z_alone, output="numpy")
    assert np.array_equal(codec.decode(files[0], preview=True, output="numpy"), wanted)
    together = codec.decode_batch(files, preview=True, output="numpy")
    assert np.abs(together[0].astype(int) - wanted).max() <= 1
    behind_z = len(z_alone) + 5  # its header is compact, that of the larger file full
    cut = files[0][: behind_z + 8]
    assert np.array_equal(codec.decode(cut, partial=True, output="numpy"), wanted)
    with pytest.raises(FormatError, match=r"cut|too early"):
        codec.decode(files[0][: behind_z - 8], partial=True)


def test_files_of_the_other_code_are_refused(codec: Codec, plain: Codec) -> None:
    for writer, reader in ((codec, plain), (plain, codec)):
        with pytest.raises(FormatError, match="other weights"):
            reader.decode(writer.encode(PICTURE, quality=50))


def test_damaged_payloads_are_refused_or_decoded(codec: Codec) -> None:
    """With a right checksum: whatever is accepted is what the encoder writes for it."""
    rng = np.random.default_rng(3)
    header = Header(model_id=MODEL_ID, quality=0, width=200, height=150)
    outcomes = set()
    for _ in range(40):
        data = pack(header, rng.bytes(int(rng.integers(1, 30))), codec.model.fingerprint)
        try:
            codec.decode(data, output="numpy")
            outcomes.add("picture")
        except FormatError as error:
            outcomes.add(str(error))
    assert any("ends too early" in outcome for outcome in outcomes)
    assert any("left over" in outcome or "not what" in outcome for outcome in outcomes)


def test_changed_integers_are_refused(file: Path, tmp_path: Path) -> None:
    with safe_open(str(file), framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    for change in ({"z_prior.bias": tensors["z_prior.bias"] + 1}, {"z_prior.more": torch.zeros(1)}):
        save_file(tensors | change, tmp_path / "w.safetensors", metadata=metadata)
        with pytest.raises(WeightsError, match="digest"):
            load(tmp_path / "w.safetensors")


def test_a_prior_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_changed(
        read_content(FIXTURE), path, z_prior={"bias": torch.zeros(4, dtype=torch.int16)}, force=False
    )
    with pytest.raises(WeightsError, match="z prior"):
        load(path)
    with pytest.raises(OutputError, match="exists already"):
        save_changed(read_content(FIXTURE), path, z_prior={}, force=False)
