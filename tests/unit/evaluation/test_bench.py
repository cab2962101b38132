"""Times, operations and memory of a model, and the other ways to run it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from onedc.cli.main import main
from onedc.codec import Codec
from onedc.config import SD15, TINY
from onedc.engine.models import ModelSource
from onedc.engine.torch_engine import ready_model, torch_engine_of
from onedc.errors import ConfigError
from onedc.evaluation.bench import BenchOptions, bench, measured_peak, random_weights, sample_picture
from onedc.evaluation.bench_report import to_json, to_markdown
from onedc.evaluation.breakdown import Clock, count_flops, measure
from onedc.evaluation.other_ways import RANK, OneByOne, OnRepeated, as_reference, swap_layers
from onedc.model.lora import adapt
from onedc.model.onedc import OneDC
from onedc.model.vae_kl import Upsample, WindowAttention

QUICK = BenchOptions(preset="tiny", precision="fp32", sizes=((64, 64),), runs=1, busy=True)


@pytest.fixture(autouse=True)
def small_products() -> Iterator[None]:
    """Without instructions for bf16 large ones take many seconds."""
    with patch("onedc.evaluation.bench.measured_peak", partial(measured_peak, side=64)):
        yield


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(ModelSource.of_one(ready_model(random_weights(TINY, torch.float32))))


def test_every_network_is_a_stage_of_its_own(codec: Codec) -> None:
    picture = sample_picture((100, 70), 0)
    encoding = measure(codec, lambda: codec.encode(picture), Clock(torch.device("cpu")))
    data = codec.encode(picture)
    decoding = measure(codec, lambda: codec.decode(data), Clock(torch.device("cpu")))
    shared = {"h_s", "prior", "entropy coding", "z prior", "rest"}
    assert set(encoding) == shared | {"vae.encode", "g_a", "h_a"}
    assert set(decoding) == shared | {"semantic", "g_s", "unet", "vae_reduction", "vae.decode"}
    assert all(ms >= 0 for ms in (*encoding.values(), *decoding.values()))


def test_operations_are_put_down_to_the_network_that_does_them(codec: Codec) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        torch_engine_of(codec.model).nets.vae.encode(torch.zeros(1, 3, 64, 128))
    flops = count_flops(codec, lambda: codec.encode(sample_picture((128, 64), 0)))
    assert flops["vae.encode"] == counter.get_total_flops() > 0
    assert flops["entropy coding"] == 0


def test_measuring_leaves_the_codec_as_it_was(codec: Codec) -> None:
    def fail() -> None:
        codec.encode(sample_picture((64, 64), 0))
        raise ConfigError("stop")

    with pytest.raises(ConfigError, match="stop"):
        measure(codec, fail, Clock(torch.device("cpu")))
    assert "forward" not in vars(torch_engine_of(codec.model).nets.g_a)
    assert "scan" not in vars(codec.model.engine.seam)


def test_the_paper_s_unet_costs_what_was_counted_of_it() -> None:
    """The published UNet in 10**9 multiply-adds at 512x512: 408.64 merged, 455.76 not."""
    with torch.device("meta"):
        generator = OneDC(SD15).generator.eval().requires_grad_(False)
        inputs = torch.empty(1, 320, 64, 64), torch.empty(1, 768, 8, 8), torch.zeros(1, dtype=torch.int64)
        counted = []
        for change in (lambda unet: None, lambda unet: adapt(unet, RANK)):
            change(generator.unet)
            with FlopCounterMode(display=False) as counter:
                generator.predict(*inputs)
            counted.append(counter.get_total_flops() / 2e9)
    assert counted == pytest.approx([408.64, 455.76], rel=1e-3)


@torch.no_grad()
def test_the_reference_s_way_gives_the_same_values() -> None:
    torch.manual_seed(0)
    attention, upsample = WindowAttention(64), Upsample(8)
    x = torch.randn(1, 64, 24, 40)
    torch.testing.assert_close(OneByOne(attention)(x), attention(x))
    torch.testing.assert_close(OnRepeated(upsample)(x[:, :8]), upsample(x[:, :8]))
    decoder = torch.nn.Sequential(torch.nn.ModuleList([attention]), torch.nn.ModuleList([upsample]))
    swap_layers(decoder, {WindowAttention: OneByOne, Upsample: OnRepeated})
    assert [type(layer[0]) for layer in decoder] == [OneByOne, OnRepeated]
    unet = random_weights(TINY, torch.float32).nets.generator.unet
    inputs = torch.randn(1, 32, 16, 16), torch.randn(1, 32), torch.randn(1, 64, 2, 2)
    before, _ = unet.trunk(*inputs)
    adapt(unet, RANK)
    torch.testing.assert_close(unet.trunk(*inputs)[0], before)


def test_the_reference_s_codec_reads_our_files(codec: Codec) -> None:
    data = codec.encode(sample_picture((64, 64), 0))
    other = Codec(ModelSource.of_one(ready_model(random_weights(TINY, torch.float32))))
    as_reference(other)
    pictures = (c.decode(data, output="torch") for c in (codec, other))
    torch.testing.assert_close(*pictures, rtol=0, atol=1e-3)


def test_a_bench_says_it_all_in_json_and_tables() -> None:
    found = bench(BenchOptions(**{**vars(QUICK), "batches": (2,)}))
    again = json.loads(to_json(found))
    ways = [(row["way"], row["direction"]) for row in again["rows"]]
    assert ways == [
        ("onedc", "encode"), ("onedc", "decode"), ("sampler, 20 steps", "decode"),
        ("sampler, 50 steps", "decode"), ("reference", "encode"), ("reference", "decode"),
    ]  # fmt: skip
    row = found["rows"][1]
    assert row["gflop"] == pytest.approx(sum(stage["gflop"] for stage in row["stages"]))
    assert found["rows"][3]["ms"] > 2 * found["rows"][2]["ms"] > 0
    assert again["throughput"][0]["pictures_per_s"] > 0
    text = to_markdown(found)
    assert f"| {1e6 * row['gflop'] / 2 / 64**2:.1f} |" in text  # thousands of multiply-adds a pixel
    assert found["machine"]["name"] in text and "| 64x64 | decode | reference | float32 | all |" in text


def test_what_a_device_cannot_do_is_null() -> None:
    def of_device(clock: Clock, dtype: torch.dtype) -> float | None:
        if dtype is torch.float64:
            return None
        return measured_peak(clock, dtype, side=64)

    with patch("onedc.evaluation.bench.measured_peak", of_device):
        found = json.loads(to_json(bench(replace(QUICK, ways=("onedc",)))))
    assert found["machine"]["peak_gflop_per_s"]["float64"] is None
    row = found["rows"][0]
    shares = {stage["name"]: stage["of_peak"] for stage in row["stages"]}
    assert shares["h_s"] is None and shares["g_a"] > 0 and row["of_peak"] > 0
    text = to_markdown(found)
    assert "float64" not in text.partition("\n")[0] and "| 64x64 | encode | onedc | float32 | h_s |" in text


def test_products_that_a_device_does_not_have_give_no_peak() -> None:
    with patch("torch.mm", side_effect=RuntimeError):
        assert measured_peak(Clock(torch.device("cpu")), torch.float64, side=64) is None


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--preset",
        "tiny",
        "--ways",
        "none",
        "--size",
        "64x64",
        "--runs",
        "1",
        "--memory",
        "64x64",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(["bench", *options]) == 0
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert found["memory"][0]["encode_mb"] > 50
    assert (tmp_path / "out" / "bench.md").read_text() == capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [["--preset", "huge"], ["--size", "64"], ["--batch", "0"], ["--ways", "magic"], ["--runs", "0"],
     ["--preset", "tiny", "--weights", "x.safetensors"]],
)  # fmt: skip
def test_wrong_usage_is_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["bench", *wrong])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("option", ["--size", "--batch", "--memory"])
def test_an_empty_list_is_refused(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", option, ","])
    assert f"argument {option}: ',' is an empty list" in capsys.readouterr().err
