from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.train.conftest import picture, write_tar

from onedc.datasets.photos import Photos, open_source, split
from onedc.errors import ConfigError, ImageError, OneDCError, OutputError
from onedc.image import read_image
from onedc.train.config import DataConfig, TrainConfig
from onedc.train.data.batches import Batch, Positions, loader, validation_batches
from onedc.train.data.crops import Crops, kind_of_step, open_data, place_of
from onedc.train.data.latents import LatentCache
from onedc.train.data.noise import Noise, derived_seed


def batches(
    config: DataConfig, *, start: int = 0, steps: int = 4, rank: int = 0, world: int = 1, parts: int = 1
) -> Iterator[Batch]:
    source = open_source(config.source)
    training, _ = split(source, config.held_out)
    crops = Crops(Photos(source, config.memory_mib), training, config, 7, None)
    return iter(
        loader(crops, Positions(config, 7, start=start, steps=steps, rank=rank, world=world, parts=parts))
    )


@pytest.fixture
def config(tiny: Callable[..., TrainConfig]) -> DataConfig:
    return tiny("data.batch=4").data


def test_tar_shards_have_names_captions_and_bytes(shards: Path) -> None:
    source = open_source(str(shards))
    assert list(source.names) == [f"p-{n}{n}abc.png" for n in range(9)]
    assert source.read(7) == picture(7)
    assert [source.caption(2), source.caption(3)] == ["a blur of colours", ""]


def test_folders_have_names_captions_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.png").write_bytes(picture(1))
    (tmp_path / "sub/x.txt").write_bytes(b"hello \xff")
    (tmp_path / "notes.md").write_text("no image")
    source = open_source(str(tmp_path))
    assert (list(source.names), source.read(0)) == (["sub/x.png"], picture(1))
    assert source.caption(0) == "hello \ufffd"


def test_what_is_no_damage_is_not_passed_over(
    config: DataConfig, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk or a lost connection must not end as a hundred damaged photos."""
    source = open_source(str(shards))

    def full(_index: int) -> bytes:
        raise OutputError("the disk is full")

    monkeypatch.setattr(source, "read", full)
    with pytest.raises(OutputError, match="the disk is full"):
        Crops(Photos(source, 0), [0, 1], config, 7, None)[0]
    with pytest.raises(OutputError, match="the disk is full"):
        next(validation_batches(Photos(source, 0), [0], 64))


def test_held_out_images_are_never_drawn(config: DataConfig) -> None:
    seen = {name for batch in batches(config, steps=20) for name in batch.names}
    assert seen == {f"p-{n}{n}abc.png" for n in range(2, 9)}


@pytest.mark.parametrize("text", ["", "/nowhere"])
def test_missing_source_is_one_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.source"):
        open_source(text)


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"not a tar" * 200)
    with pytest.raises(ImageError, match=r"x\.tar"):
        open_source(str(tmp_path))


def test_each_epoch_visits_every_image_once() -> None:
    for epoch in range(3):
        places = [place_of(1, position, 10) for position in range(10 * epoch, 10 * epoch + 10)]
        assert sorted(places) == list(range(10))
    assert [place_of(1, p, 10) for p in range(10)] != [place_of(2, p, 10) for p in range(10)]


@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_continues_mid_epoch_exactly(config: DataConfig, workers: int) -> None:
    config = replace(config, workers=workers)
    whole = list(batches(config, steps=6))
    rest = list(batches(config, start=3, steps=6))
    assert [b.names for b in whole[3:]] == [b.names for b in rest]
    assert all(torch.equal(a.x, b.x) for a, b in zip(whole[3:], rest, strict=True))


def test_processes_and_parts_share_the_same_step(config: DataConfig) -> None:
    alone = list(batches(config, steps=2))
    for step in range(2):
        shares = {}
        for rank in range(2):
            parts = list(batches(config, steps=2, rank=rank, world=2, parts=2))[2 * step : 2 * step + 2]
            for part, batch in enumerate(parts):
                shares[(part, rank)] = batch
        x = torch.cat([shares[key].x for key in sorted(shares)])
        assert torch.equal(x, alone[step].x)


def test_a_batch_that_does_not_divide_is_refused(config: DataConfig) -> None:
    with pytest.raises(ConfigError, match="3 processes"):
        next(batches(config, world=3))


def test_crops_differ_in_place_within_a_batch(tmp_path: Path) -> None:
    write_tar(tmp_path / "one.tar", {"p.png": picture(1, 200, 200)})
    config = DataConfig(source=str(tmp_path / "one.tar"), batch=4, crop_px=64)
    x = next(batches(config)).x
    assert not any(torch.equal(x[0], other) for other in x[1:])


def test_damaged_images_are_stood_in_for_and_counted(tmp_path: Path) -> None:
    good = {f"g{n}.png": picture(n) for n in range(3)}
    write_tar(tmp_path / "d.tar", good | {"bad.png": picture(9)[:60], "worse.jpg": b"\xff\xd8nothing"})
    config = DataConfig(source=str(tmp_path / "d.tar"), batch=5, crop_px=64)
    found = list(batches(config, steps=4))
    assert {n for b in found for n in b.names} == set(good)
    assert sum(b.skipped for b in found) >= 8  # each epoch of five meets both


def test_mixture_has_one_kind_for_each_step_and_its_sizes(tmp_path: Path) -> None:
    write_tar(tmp_path / "m.tar", {f"{n}.png": picture(n, 150, 140) for n in range(4)})
    config = DataConfig(
        source=str(tmp_path / "m.tar"), batch=4, crop_px=64, resize_share=0.3, large_share=0.3
    )
    kinds = Counter()
    for step, batch in enumerate(batches(config, steps=40)):
        kind = kind_of_step(config, 7, 4 * step)
        kinds[kind] += 1
        assert batch.x.shape == ((1, 3, 128, 128) if kind == "large" else (4, 3, 64, 64))
    assert set(kinds) == {"crop", "resize", "large"}


def test_small_photos_are_enlarged_to_the_crop(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"s.png": picture(1, 40, 100)})
    batch = next(batches(DataConfig(source=str(tmp_path / "s.tar"), batch=1, crop_px=64)))
    assert batch.x.shape == (1, 3, 64, 64)


def test_cached_latents_belong_to_their_crop(tmp_path: Path) -> None:
    """With an encoder that averages 8x8 squares, cached latents must equal those of the crop itself."""

    def encode(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 8)

    write_tar(tmp_path / "p.tar", {f"{n}.png": picture(n, 210, 180) for n in range(3)})
    config = DataConfig(
        source=str(tmp_path / "p.tar"), batch=6, crop_px=64, latent_cache=str(tmp_path), view_px=128
    )
    source = open_source(config.source)
    cache = LatentCache(tmp_path / "cache", "mean")
    crops = Crops(Photos(source, 100), [0, 1, 2], config, 3, cache)
    with pytest.raises(Exception, match="prepare"):
        crops[0]
    for index in range(3):
        window = crops.view(index)
        assert window is not None
        cache.add(window, encode, torch.device("cpu"))
        assert cache.has(window)
    batch = next(iter(loader(crops, Positions(config, 3, start=0, steps=1, rank=0, world=1, parts=1))))
    assert batch.vae_latents is not None
    torch.testing.assert_close(batch.vae_latents, encode(batch.x), atol=2e-3, rtol=0)


def test_validation_is_the_same_each_time(config: DataConfig) -> None:
    source = open_source(config.source)
    _, kept = split(source, config.held_out)
    assert [source.names[n] for n in kept] == ["p-00abc.png", "p-11abc.png"]
    twice = [list(validation_batches(Photos(source, 0), kept, 64)) for _ in range(2)]
    assert all(torch.equal(a.x, b.x) for a, b in zip(*twice, strict=True))
    assert twice[0][0].x.shape == (1, 3, 64, 64)


def test_noise_belongs_to_the_image() -> None:
    cpu = torch.device("cpu")
    both = Noise(5, [10, 11], cpu)
    assert torch.equal(both.uniform("y", 3, 2)[1:], Noise(5, [11], cpu).uniform("y", 3, 2))
    assert not torch.equal(both.uniform("y", 3), both.uniform("z", 3))
    draws = Noise(5, range(4000), cpu).integers("q", 1, 5)
    assert (int(draws.min()), int(draws.max())) == (1, 4)
    assert np.isclose(Noise(5, range(4000), cpu).normal("n").std(), 1, atol=0.05)


def test_arrow_data_in_commoncatalogs_schema(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {
        "jpg": [{"bytes": picture(n), "path": None} for n in range(3)],
        "blip2_caption": ["a cat", None, "a dog"],
        "unickname": ["u0", "u1", "u2"],
    }
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict(rows).cast_column("jpg", datasets.Image())
    table.save_to_disk(str(tmp_path / "saved"))
    table.to_parquet(str(tmp_path / "files/part.parquet"))
    (tmp_path / "saved/cache-1a.arrow").write_bytes(b"what a shuffle or a map of the library leaves")
    for place in ("saved", "files"):
        source = open_source(f"hf:{tmp_path / place}")
        assert list(source.names) == ["u0", "u1", "u2"]
        assert [source.caption(n) for n in range(3)] == ["a cat", "", "a dog"]
        assert source.read(1) == picture(1)
    rows.pop("jpg")
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "bare"))
    with pytest.raises(ConfigError, match="no single column of pictures"):
        open_source(f"hf:{tmp_path / 'bare'}")


def write_coco(folder: Path, split: str = "val2017") -> Path:
    """Two photos with COCO's captions file; the second has two captions, out of order."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images = [{"id": 9, "file_name": "b.png"}, {"id": 4, "file_name": "a.png"}]
    said = [(31, 4, "second said"), (30, 4, " first said\n"), (7, 9, "another photo")]
    notes = {
        "images": images,
        "annotations": [{"id": n, "image_id": image, "caption": text} for n, image, text in said],
    }
    (folder / f"annotations/captions_{split}.json").write_text(json.dumps(notes))
    for number, image in enumerate(images):
        (folder / split / str(image["file_name"])).write_bytes(picture(number, 200, 160))
    return folder


def test_coco_has_one_caption_an_image_always_the_same(tmp_path: Path) -> None:
    write_coco(tmp_path)
    source = open_source(f"coco:{tmp_path}")
    assert list(source.names) == ["a.png", "b.png"]
    assert [source.caption(n) for n in range(2)] == ["first said", "another photo"]
    assert source.read(0) == picture(1, 200, 160)
    write_coco(tmp_path, "train2017")
    assert open_source(f"coco:{tmp_path}").names == source.names  # of several, the validation split
    (tmp_path / "annotations/captions_val2017.json").write_text('{"images": [{"id": 1}]}')
    with pytest.raises(ConfigError, match=r"captions_val2017\.json is not of COCO's schema"):
        open_source(f"coco:{tmp_path}")
    with pytest.raises(ConfigError, match="no annotations"):
        open_source(f"coco:{tmp_path / 'val2017'}")


def test_validation_may_have_a_source_of_its_own(config: DataConfig, tmp_path: Path) -> None:
    config = replace(config, validation_source=f"coco:{write_coco(tmp_path)}")
    data = open_data(config)
    assert [data.source.names[n] for n in data.training] == [f"p-{n}{n}abc.png" for n in range(2, 9)]
    assert [data.validation_source.names[n] for n in data.validation] == ["a.png", "b.png"]
    crops = list(validation_batches(Photos(data.validation_source, 0), data.validation, 64))
    assert [batch.captions for batch in crops] == [["first said"], ["another photo"]]


def test_resized_crops_are_windows_made_smaller(tmp_path: Path) -> None:
    """The spec's mixture: a window of min_side_px, and that resized to crop_px."""
    write_tar(tmp_path / "r.tar", {"p.png": picture(1, 300, 260)})
    config = DataConfig(
        source=str(tmp_path / "r.tar"), batch=2, crop_px=64, min_side_px=256, resize_share=1.0
    )
    x = next(batches(config)).x
    whole = read_image(picture(1, 300, 260))
    wanted = []
    for position in range(2):
        rng = np.random.default_rng(derived_seed(7, position, "crop"))
        top, left = int(rng.integers(0, 260 - 256 + 1)), int(rng.integers(0, 300 - 256 + 1))
        window = whole[top : top + 256, left : left + 256]
        mirrored = bool(rng.integers(0, 2))
        window = Image.fromarray(window[:, ::-1] if mirrored else window)
        wanted.append(np.asarray(window.resize((64, 64), Image.Resampling.BICUBIC)))
    found = ((x + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(found, np.stack(wanted).astype(np.float32))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_prepared_is_named_in_one_line(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("no\nsense")

    monkeypatch.setattr(Crops, "_cut", fail)
    with pytest.raises(OneDCError, match=r"^p-\d\dabc\.png: cannot be prepared \(TypeError: no sense\)$"):
        next(batches(replace(config, workers=workers)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torch's own, at its end
def test_a_dead_loader_process_is_one_line(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Crops, "_cut", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(OneDCError, match=r"data\.workers: .* failed .*(killed|exited)") as caught:
        next(batches(replace(config, workers=1)))
    assert "\n" not in str(caught.value)


def test_a_loader_process_killed_during_a_step_is_told_by_the_loader(config: DataConfig) -> None:
    """Not by an error of torch's in the middle of the step."""
    before = set(multiprocessing.active_children())
    loading = batches(replace(config, workers=1), steps=9)
    next(loading)
    for child in set(multiprocessing.active_children()) - before:
        os.kill(child.pid or 0, signal.SIGKILL)
    time.sleep(0.5)  # the step
    with pytest.raises(OneDCError, match=r"data\.workers: .* failed .*(killed|exited)"):
        list(loading)
