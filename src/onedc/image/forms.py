"""Pictures in every form that the codec takes and gives: Pillow images, files, arrays, tensors.

Tensors are torch's, which need not be installed for the others. Knows no networks.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onedc.constants import DOWNSAMPLING_PX
from onedc.container.header import FORMAT_MAX_SIDE_PX, Header, positions_of
from onedc.container.side_data import (
    DESCRIPTION,
    SideData,
    apply_profile,
    from_sections,
    info_of,
    to_sections,
)
from onedc.errors import ConfigError, ImageError, OneDCError, PictureWarning, optional
from onedc.image.reading import KEEPABLE, Keepable, Loaded, PictureFile, read_picture, to_picture
from onedc.image.samples import Color, RGBArray, to_bytes
from onedc.image.shrink import LEAST_SIDE_PX, STEP, Size, shrunk

if TYPE_CHECKING:
    from torch import Tensor

Picture: TypeAlias = "Image.Image | Loaded | NDArray[np.uint8] | Tensor | PictureFile"
"""A Pillow image, what `image.read_picture` returns, an [H,W,3 or 4] uint8 array, a [3 or 4,H,W] float tensor
in [-1,1], or a picture file: its path, its bytes, or a binary file object."""
Output: TypeAlias = Literal["pil", "numpy", "torch"]
Pixels: TypeAlias = NDArray[Any]
"""What engines take and give: [H,W,3] uint8, or [3,H,W] float32 in [-1,1]."""


class Source(NamedTuple):
    """A picture to encode."""

    pixels: Pixels
    width: int  # pixels
    height: int  # pixels
    sections: dict[int, bytes]  # of what is kept beside it
    original: tuple[int, int] | None = None  # width and height before it was shrunk, if it was

    def header(self, model_id: int, quality: int) -> Header:
        """Of its file, made by a model at a quality byte."""
        return Header(
            model_id=model_id, quality=quality, width=self.width, height=self.height, original=self.original
        )

    def smaller(self) -> Source | None:
        """Shrunk by one STEP more; None where it is as small as it may be, or of floats."""
        longer = round(STEP * max(self.width, self.height))
        if longer < LEAST_SIDE_PX or self.pixels.dtype != np.uint8:
            return None
        side_data = from_sections(self.sections, self.width, self.height)
        return _source(shrunk(Loaded(self.pixels, side_data, self.original), longer))


def read_batch(
    images: Sequence[Picture],
    size: Size | None = None,
    *,
    background: Color | None = None,
    keep: Collection[Keepable] = (),
) -> list[Source]:
    """Pictures in any form, of one padded size.

    Args:
        size: what they are to have; None: their own.
        background: colour to lay under transparent places. None: a picture with any is refused.
        keep: what to keep beside the picture, of images and files that have it.

    Raises:
        ImageError: none at all, different padded sizes, one that is no picture, or too large.
        ConfigError: something unknown to keep, or too much.
    """
    if isinstance(keep, str):
        keep = (cast(Keepable, keep),)
    if not KEEPABLE.issuperset(keep):
        raise ConfigError(f"keep {list(keep)!r}: can hold {', '.join(sorted(KEEPABLE))}")
    found = [_read(image, size, background, keep) for image in images]
    sizes = {(source.width, source.height) for source in found}
    common_positions(sizes, "pictures of one size", ImageError)
    for width, height in sorted(sizes):
        if max(height, width) > FORMAT_MAX_SIDE_PX:
            raise ImageError(f"picture: {width}x{height} px; no side may exceed {FORMAT_MAX_SIDE_PX}")
    return found


def _read(image: Picture, size: Size | None, background: Color | None, keep: Collection[Keepable]) -> Source:
    image = _with_alpha(image)
    if isinstance(image, np.ndarray):
        loaded = Loaded(_checked(image), SideData())
    elif _is_tensor(image):
        source = _of_tensor(image)
        longer = max(source.width, source.height)
        if size is None or size.longer(source.width, source.height) == longer:
            return source
        loaded = Loaded(to_bytes(source.pixels), SideData())
    elif isinstance(image, Loaded):
        loaded = image
    elif isinstance(image, Image.Image):
        loaded = to_picture(image, background=background, keep=keep)
    elif isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(image, "read"):
        file = cast(PictureFile, image)
        draft = None if size is None else size.longer
        loaded = read_picture(file, background=background, keep=keep, draft=draft)
    else:
        raise ImageError(
            f"a picture must be a Pillow image, a file, an array or a tensor, not {type(image).__name__}"
        )
    return _source(loaded if size is None else size.of(loaded))


def _source(loaded: Loaded) -> Source:
    height, width, _ = loaded.rgb.shape
    return Source(loaded.rgb, width, height, to_sections(loaded.side_data), loaded.original)


def _with_alpha(image: Picture) -> Picture:
    """An array or tensor of four channels, as decoding gives it, as a Pillow image; others as they are."""
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 4 and image.dtype == np.uint8:
        return Image.fromarray(image)
    if _is_tensor(image) and tuple(cast(Any, image).shape[:-2]) == (4,):
        return Image.fromarray(to_bytes(_floats_of(image)))
    return image


def _is_tensor(image: object) -> bool:
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    return torch is not None and isinstance(image, torch.Tensor)


def _checked(array: NDArray[Any]) -> RGBArray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ImageError(f"picture: {array.dtype} {array.shape}; an array must be [H,W,3] uint8")
    return np.ascontiguousarray(array)


def _of_tensor(tensor: Any) -> Source:
    if tensor.dim() != 3 or tensor.shape[0] != 3 or not tensor.is_floating_point() or not tensor.numel():
        raise ImageError(f"picture: {tensor.dtype} {tuple(tensor.shape)}; a tensor must be [3,H,W] floats")
    floats = _floats_of(tensor)
    if 0 <= floats.min() < floats.max():
        warnings.warn(
            PictureWarning(
                "picture: no tensor value is below 0; values are in [-1, 1], so one in [0, 1] is to be "
                "multiplied by 2, less 1"
            ),
            stacklevel=2,
        )
    _, height, width = floats.shape
    return Source(floats, width, height, {})


def _floats_of(tensor: Any) -> NDArray[np.float32]:
    """Raises ImageError for values beyond [-1,1]."""
    floats: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    if not ((floats >= -1) & (floats <= 1)).all():
        raise ImageError("picture: tensor values must be finite and in [-1, 1]")
    return floats


def common_positions(
    sizes: Collection[tuple[int, int]], needed: str, error: type[OneDCError]
) -> tuple[int, int]:
    """The positions of z, down and across, that pictures of these sizes (width, height) have in common.

    Raises:
        error: they have none, or not the same.
    """
    positions = {positions_of(*size) for size in sizes}
    if len(positions) != 1:
        raise error(
            f"a batch needs {needed}, after padding to multiples of "
            f"{DOWNSAMPLING_PX}; got {sorted(sizes)} (width, height)"
        )
    return positions.pop()


def padded(pixels: Pixels) -> Pixels:
    """A picture extended right and below to multiples of 64 pixels, by repeating its border."""
    sides = (1, 1, 0) if pixels.dtype == np.uint8 else (0, 1, 1)
    missing = [
        (0, -size % DOWNSAMPLING_PX if side else 0) for size, side in zip(pixels.shape, sides, strict=True)
    ]
    return np.pad(pixels, missing, mode="edge") if any(end for _, end in missing) else pixels


def _resampled(pixels: Pixels, side_data: SideData, width: int, height: int) -> tuple[Pixels, SideData]:
    """A decoded picture and its alpha plane at another size, by Lanczos's filter."""

    def resized(image: Image.Image) -> Image.Image:
        return image.resize((width, height), Image.Resampling.LANCZOS)

    if pixels.dtype == np.uint8:
        pixels = np.asarray(resized(Image.fromarray(pixels)))
    else:
        pixels = np.stack([np.asarray(resized(Image.fromarray(channel))) for channel in pixels])
    return pixels, side_data if side_data.alpha is None else replace(
        side_data, alpha=resized(side_data.alpha)
    )


def check_output(output: str) -> None:
    """Refuse a form of decoded pictures that there is not.

    Raises:
        ConfigError: an unknown one.
        MissingExtraError: "torch" without torch.
    """
    if output not in ("pil", "numpy", "torch"):
        raise ConfigError(f"output {output!r} is none of 'pil', 'numpy', 'torch'")
    if output == "torch":
        optional("torch", "torch")


def as_output(
    pixels: Pixels, output: Output, side_data: SideData, header: Header, text: str, *, full_size: bool = False
) -> Any:
    """A decoded picture, with its alpha plane as a fourth channel, in the form asked for.

    Args:
        pixels: [H,W,3] uint8, or [3,H,W] floats for "torch", extended to multiples of 64.
        text: what a Pillow image says of itself.
        full_size: resample a picture that was shrunk to its original's size.
    """
    rows, columns = slice(header.height), slice(header.width)
    pixels = pixels[:, rows, columns] if output == "torch" else pixels[rows, columns]
    if full_size and header.original:
        pixels, side_data = _resampled(pixels, side_data, *header.original)
    if output == "pil":
        image = _as_image(pixels, side_data)
        image.info[DESCRIPTION] = text
        return image
    alpha = None if side_data.alpha is None else np.asarray(side_data.alpha)
    if output == "numpy":
        return np.ascontiguousarray(pixels) if alpha is None else np.dstack([pixels, alpha])
    if alpha is not None:
        pixels = np.concatenate([pixels, alpha[None].astype(np.float32) / 127.5 - 1])
    return optional("torch", "torch").from_numpy(pixels)


def _as_image(rgb: RGBArray, side_data: SideData) -> Image.Image:
    """[H,W,3] sRGB as a Pillow image, in the stored profile and with the rest of what was kept."""
    image = Image.fromarray(rgb)
    if side_data.icc is not None:
        image = apply_profile(image, side_data.icc)
    if side_data.alpha is not None:
        image.putalpha(side_data.alpha)
    image.info.update(info_of(side_data))
    return image
