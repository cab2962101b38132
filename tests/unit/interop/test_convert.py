"""Conversion in parts that are small: strictness, places of the autoencoder, the seam's cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from experiments.seam_cost import compare_seam, measure_seam
from safetensors.torch import save_file

from onedc.cli.main import main
from onedc.config import TINY
from onedc.errors import WeightsError
from onedc.interop.convert import Options, Published, open_unet, read_published
from onedc.model.onedc import OneDC
from onedc.pretrained.checkpoint import from_tensors

SINGLE_RATE = replace(
    TINY,
    quality_knots=0,
    analysis_unet=replace(TINY.analysis_unet, time_channels=64),
)


@pytest.fixture(scope="module")
def model() -> OneDC:
    torch.manual_seed(0)
    return OneDC(SINGLE_RATE).eval().requires_grad_(False)


def test_the_integers_cost_next_to_nothing(model: OneDC) -> None:
    y, z_hat = 3 * torch.randn(1, TINY.y_channels, 16, 16), torch.randint(-2, 2, (1, 7, 4, 4)) / 2
    cost = compare_seam(model.h_s, model.prior, [(y, z_hat)])
    assert cost.float_bytes > 1000
    assert abs(cost.percent) < 0.5


def test_the_cost_is_measured_on_pictures(model: OneDC) -> None:
    picture = torch.randint(0, 256, (70, 50, 3), dtype=torch.uint8).numpy()
    cost = measure_seam(SINGLE_RATE, from_tensors("tiny", model.state_dict()), [picture, picture])
    assert cost.float_bytes > 0 < cost.integer_bytes


@pytest.fixture
def wrong(tmp_path: Path) -> Published:
    """Three well-formed files of other networks."""
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("unet", "codec", "vae")}
    for name, path in paths.items():
        save_file({f"{name}.weight": torch.ones(1)}, path)
    return Published(**paths)


def test_a_file_of_another_network_is_refused_with_some_of_its_keys(wrong: Published) -> None:
    with pytest.raises(WeightsError) as caught:
        read_published(wrong)
    message = str(caught.value)
    assert message.startswith(f"{wrong.unet}: not the published UNet: weights 696 missing ('generator.unet.")
    assert "1 unknown ('unet.weight')" in message
    assert "\n" not in message


def test_model_ids_of_ours_are_refused() -> None:
    with pytest.raises(WeightsError, match="take 192 to 255"):
        Options(model_id=0)


def test_the_command_fails_in_one_line_and_writes_nothing(
    wrong: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.safetensors"
    files = ["--unet", str(wrong.unet), "--codec", str(wrong.codec), "--vae", str(wrong.vae)]
    assert main(["convert", *files, "-o", str(output)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name --unet and --codec, several --rate, or several --run"),
        (["--unet", "a"], "name --unet and --codec"),
        (["--unet", "a", "--codec", "b", "--rate", "1", "a", "b"], "leave --unet, --codec and --z-only away"),
        (["--rate", "1", "a", "b"], "--rate: a family needs at least two"),
        (["--rate", "1", "a", "b", "--rate", "z", "c", "d"], "--rate z must come first"),
        (["--rate", "4.6", "a", "b", "--rate", "12.2", "c", "d"], "12.2 after 4.6: the largest LAMBDA"),
        (["--rate", "4.6", "a", "b", "--rate", "4.6", "c", "d"], "4.6 after 4.6"),
        (["--rate", "low", "a", "b", "--rate", "high", "c", "d"], "LAMBDA is a number or z"),
        (["--rate", "12.2", "a", "b", "--rate", "4.6", "c", "./b"], "b is named twice"),
    ],
)
def test_command_lines_that_make_no_sense(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", *options, "--vae", "v", "-o", "out"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and message in told


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_the_unet_has_its_published_keys_whatever_trainers_put_before_them(
    tmp_path: Path, prefix: str
) -> None:
    keys = (
        "conv_in.weight",
        "mid_block.proj_in.base_layer.weight",
        "mid_block.proj_in.lora_A.default.weight",
    )
    save_file({prefix + key: torch.ones(1) for key in keys}, tmp_path / "unet.safetensors")
    assert tuple(open_unet(tmp_path / "unet.safetensors").shapes) == keys
