"""Decode the same files under many circumstances and count the integers that differ.

As a script it runs on real weights and pictures; `test_exactness` runs it on the fixture model:

    python -m tests.e2e.exactness WEIGHTS IMAGES... [--qualities 10 50 90]
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tests.conformance.recording import Recording, integers_only, recorded
from tests.e2e.float_seam import FloatSeam
from torch import Tensor, nn

from onedc.codec import Codec
from onedc.engine.torch_engine import torch_engine_of, torch_library
from onedc.image import read_image
from onedc.loading import load
from onedc.seam.conversion import arrays_of
from onedc.seam.fixed_point import Convolution, Seam

Circumstance = Callable[[Codec], AbstractContextManager[object]]


def integers(codec: Codec, files: Sequence[bytes]) -> list[NDArray[np.int32]]:
    """All table indices and symbols of each file, decoded as one batch; no pictures are made."""
    with recorded(codec) as recording, integers_only(codec):
        codec.decode_batch(files)
    return [flat(recording, row) for row in range(len(files))]


def flat(recording: Recording, row: int = 0) -> NDArray[np.int32]:
    """One picture's integers in one row."""
    return np.concatenate([values.astype(np.int32).ravel() for values in recording.arrays(row).values()])


def mismatches(expected: NDArray[np.int32], found: NDArray[np.int32]) -> int:
    """How many integers differ; all of them if there is another number of them."""
    return int((expected != found).sum()) if expected.shape == found.shape else max(expected.size, found.size)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Another number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_torch(codec: Codec) -> AbstractContextManager[object]:
    """The seam in torch, as on a GPU."""
    engine = torch_engine_of(codec.model)
    seam = Seam(arrays_of(engine._seam_integers), torch_library(torch.device("cpu")))
    return mock.patch.object(engine, "seam", seam)


@contextmanager
def compiled(codec: Codec, names: Sequence[str] = ("_to_entropy", "_trunk")) -> Iterator[None]:
    """Layers of the seam through torch.compile."""
    with ExitStack() as stack:
        stack.enter_context(in_torch(codec))
        seam = torch_engine_of(codec.model).seam
        for name in names:
            layer = torch.compile(getattr(seam, name), dynamic=False)
            stack.enter_context(mock.patch.object(seam, name, layer))
        yield


def permuted(codec: Codec) -> AbstractContextManager[object]:
    """Every convolution of the seam as unfold + matmul, its sum in another order."""
    if not isinstance(torch_engine_of(codec.model).seam, Seam):
        return mock.patch.object(nn.Conv2d, "forward", _permuted_convolution)
    stack = ExitStack()
    stack.enter_context(in_torch(codec))
    stack.enter_context(mock.patch.object(Convolution, "sums", _permuted_sums))
    return stack


def _permuted_sums(layer: Convolution, x: Tensor) -> Tensor:
    return _permuted(layer.weight.permute(2, 3, 0, 1), x)


def _permuted_convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return _permuted(layer.weight, x) + layer.bias[:, None, None]


def _permuted(weight: Tensor, x: Tensor) -> Tensor:
    """A convolution with a weight [out,in,k,k] of x [B,in,h,w]."""
    size, (height, width) = weight.shape[-1], x.shape[2:]
    columns = F.unfold(x, size, padding=size // 2).unflatten(1, (x.shape[1], size * size))
    if weight.shape[1] == 1 and size > 1:
        terms = (columns * weight.flatten(1)[None, :, :, None]).flip(2)
        out = terms.sum(dim=2)
    else:
        order = torch.randperm(weight[0].numel(), generator=torch.Generator().manual_seed(1))
        out = weight.flatten(1)[:, order] @ columns.flatten(1, 2)[:, order]
    return out.unflatten(2, (height, width))


@contextmanager
def autocast(codec: Codec) -> Iterator[None]:
    """Inside somebody's autocast."""
    with in_torch(codec), torch.autocast("cpu", torch.bfloat16):
        yield


CIRCUMSTANCES: dict[str, Circumstance] = {
    "1 thread": lambda codec: threads(1),
    "2 threads": lambda codec: threads(2),
    "torch": in_torch,
    "autocast": autocast,
    "torch.compile": compiled,
    "unfold + matmul, permuted": permuted,
}


def in_another_process(weights: Path, files: Sequence[bytes]) -> list[str]:
    """sha256 of each file's integers, decoded one by one by a new process in bf16."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.1dc" for index in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        command = [sys.executable, "-m", "tests.e2e.exactness", "--digest", str(weights), *map(str, paths)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@contextmanager
def analysed_once(codec: Codec) -> Iterator[None]:
    """Remember what the encoder's networks make of each picture: they are most of the time."""
    engine, known = codec.model.engine, {}
    analyse = engine.analyse

    def remembered(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if key not in known:
            known[key] = analyse(pixels)
        return known[key]

    with mock.patch.object(engine, "analyse", remembered):
        yield


def digest(values: NDArray[np.int32]) -> str:
    """sha256 of integers."""
    return hashlib.sha256(values.astype("<i4").tobytes()).hexdigest()


def compare(
    codec: Codec,
    weights: Path,
    files: Sequence[bytes],
    circumstances: Mapping[str, Circumstance] = CIRCUMSTANCES,
) -> dict[str, int]:
    """Differing integers under each circumstance, for files of pictures of one size.

    The expectation is each file alone, as the codec stands.
    """
    expected = [integers(codec, [data])[0] for data in files]
    found = {}
    for name, circumstance in circumstances.items():
        with circumstance(codec):
            found[name] = [integers(codec, [data])[0] for data in files]
    found["in a batch"] = integers(codec, files)
    found["bf16"] = integers(load(weights, precision="bf16"), files)
    counts = {name: sum(map(mismatches, expected, values)) for name, values in found.items()}
    digests = in_another_process(weights, files)
    counts["another process"] = sum(digest(a) != b for a, b in zip(expected, digests, strict=True))
    return counts


def float_mismatches(codec: Codec, pictures: Sequence[NDArray[np.uint8]], quality: float) -> tuple[int, int]:
    """With the seam in bf16 and sums in another order: (integers that differ or cannot be decoded, all)."""
    with mock.patch.object(torch_engine_of(codec.model), "seam", FloatSeam(codec)):
        wrong = total = 0
        for picture in pictures:
            with recorded(codec) as recording:
                data = codec.encode(picture, quality=quality)
            expected = flat(recording)
            with permuted(codec):
                try:
                    wrong += mismatches(expected, integers(codec, [data])[0])
                except ValueError:  # FormatError: the decoder noticed
                    wrong += expected.size
            total += expected.size
    return wrong, total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("inputs", type=Path, nargs="+", metavar="IMAGES")
    parser.add_argument("--qualities", type=float, nargs="+", default=[10, 50, 90])
    parser.add_argument("--digest", action="store_true", help="inputs are .1dc files: print digests only")
    args = parser.parse_args()
    if args.digest:
        codec = load(args.weights, precision="bf16")
        for path in args.inputs:
            print(digest(integers(codec, [path.read_bytes()])[0]))
        return
    codec = load(args.weights, engine="torch", precision="fp32")
    by_size: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}
    for path in args.inputs:
        picture = read_image(path)
        by_size.setdefault(picture.shape, []).append(picture)
    with analysed_once(codec):
        for quality in args.qualities:
            report(codec, args.weights, list(by_size.values()), quality)


def report(
    codec: Codec, weights: Path, groups: Sequence[Sequence[NDArray[np.uint8]]], quality: float
) -> None:
    """Print the mismatches at one quality; `groups` are pictures of one size each."""
    totals: Counter[str] = Counter()
    for pictures in groups:
        totals.update(
            compare(codec, weights, [codec.encode(picture, quality=quality) for picture in pictures])
        )
    print(f"quality {quality:g}: {sum(map(len, groups))} pictures, mismatches {dict(totals)}", flush=True)
    wrong, total = float_mismatches(codec, groups[0][:1], quality)
    print(f"quality {quality:g}: seam in bf16 (must fail): {wrong} of {total} integers", flush=True)


if __name__ == "__main__":
    main()
