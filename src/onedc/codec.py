"""The codec: pictures to .1dc bytes and back. Read this file first.

`encode_batch` and `decode_batch` are mirror images, one verb a line. Everything between z and y runs in
integers (`model.seam`), so that both walk through the same entropy tables on any machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from onedc.config import DOWNSAMPLING_PX, QUALITY_MAX
from onedc.container import DEFAULT_MAX_PIXELS, Contents, pack, unpack
from onedc.entropy.coder import SYMBOL_MAX, SymbolDecoder, SymbolEncoder
from onedc.entropy.tables import load_tables
from onedc.entropy.z_prior import LearnedZPrior, UniformZPrior, ZPrior
from onedc.errors import ConfigError, FormatError, ImageError, OneDCError
from onedc.extras import DESCRIPTION, Extras, apply_profile, from_sections, to_sections
from onedc.file_info import File, note, read_file
from onedc.header import SIDE_MAX_PX, Header, positions_of
from onedc.image import KEEPABLE, Color, Keepable, Loaded, read_picture, to_picture
from onedc.model.device import fast_dtype, find_device, has_float64
from onedc.model.family import is_family, read_family
from onedc.model.fsq import FSQ
from onedc.model.lpips import LPIPS, LPIPS_SQUEEZE_FILE, read_lpips
from onedc.model.onedc import OneDC
from onedc.model.pixels import pad, to_bytes, to_tensor
from onedc.model.prior import collapse
from onedc.model.refine import STEPS, Progress, Refiner, Sent, check_effort, check_size
from onedc.model.seam import Seam
from onedc.model.weights import Weights, float_prior, load_weights, save_weights
from onedc.rate import highest_within, refined_within

DEFAULT_QUALITY = 50.0
"""Near 0.1 bits per pixel with the bundled model."""
BUNDLED = Path(__file__).parent / "weights" / "small.safetensors"

Picture: TypeAlias = (
    "Image.Image | Loaded | NDArray[np.uint8] | Tensor | str | os.PathLike[str] | bytes | BinaryIO"
)
"""A Pillow image, what `image.read_picture` returns, an [H,W,3] uint8 array, a [3,H,W] float tensor in
[-1,1], or a picture file: its path, its bytes, or a binary file object."""
Output: TypeAlias = Literal["pil", "numpy", "torch"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16"]


class Codec:
    """A model ready to encode and decode. Make one with `load`. Threads may share one.

    Args:
        weights: the model.
        device: where the networks run; the integer seam runs there too if the device has float64.
        dtype: precision of the float networks. It never changes the meaning of a file.
        lpips: what an effort above 0 judges decoded pictures by; None: the autoencoder's own features.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        lpips: LPIPS | None = None,
    ) -> None:
        self.config, self.model_id = weights.config, weights.model_id
        self.fingerprint = fingerprint(weights)
        self.device, self.dtype = torch.device(device), dtype
        nets: Any = weights.nets
        self.nets = nets.to_precision(dtype).to(self.device, memory_format=torch.channels_last)
        self.seam: Seam = weights.seam.to(self.device if has_float64(self.device) else "cpu")
        self.z_prior: ZPrior = _z_prior(weights)
        self._seam_integers = weights.seam_integers
        self._lpips = None if lpips is None else lpips.to(self.device)

    def compile(self) -> None:
        """Have torch.compile make kernels of the float networks: at the first picture of each size, which
        takes minutes, and from the user's cache at the next start. The seam and the files stay as they are.

        Raises:
            ConfigError: no C++ compiler, which kernels for the CPU need.
        """
        self.nets.compile_networks(self.device)

    def encode(
        self,
        image: Picture,
        *,
        quality: float = DEFAULT_QUALITY,
        background: Color | None = None,
        keep: Collection[Keepable] = (),
        effort: int = 0,
        progress: Progress | None = None,
    ) -> bytes:
        """One picture to the bytes of a .1dc file; see `encode_batch`."""
        return self.encode_batch(
            [image], quality=quality, background=background, keep=keep, effort=effort, progress=progress
        )[0]

    @torch.inference_mode()
    def encode_batch(
        self,
        images: Sequence[Picture],
        *,
        quality: float = DEFAULT_QUALITY,
        background: Color | None = None,
        keep: Collection[Keepable] = (),
        effort: int = 0,
        progress: Progress | None = None,
    ) -> list[bytes]:
        """Pictures of one padded size to the bytes of .1dc files, the same bytes as one by one.

        Args:
            images: Pillow images, picture files, [H,W,3] uint8 arrays, or [3,H,W] float tensors in [-1,1].
                Their sides must be the same once extended to multiples of 64.
            quality: 0 (z only, 0.0034 bits per pixel) to 100. A model trained for z only takes 0 always.
            background: colour to lay under transparent places. None: a picture with any is refused.
            keep: what to store of Pillow images and picture files beside the picture, where they have it:
                "alpha", "icc" (the RGB profile), "exif".
            effort: 0 to 9: how long to look for a better choice of y for each picture, in `refine.STEPS`; 0
                is one pass. The same bytes every time on the same processor; any decoder reads them.
            progress: told of the steps of each picture.

        Raises:
            ImageError: pictures of different padded sizes, of an unknown form or with transparent places,
                too large for an effort above 0, files that cannot be read.
            ConfigError: a quality outside 0..100, something unknown to keep, an effort outside 0..9, or one
                above 0 with a model of a single rate.
        """
        byte = 0 if self.config.z_only else quality_byte(quality)
        self.check_effort(effort)
        pictures, sections = _tensors(images, background, keep, effort)
        y, z_hat = self._analyse(pictures)
        hyper, z_semantic = self.seam.hyper(z_hat)
        y_gained = self._gained(y, byte)
        if effort and byte:
            rows = zip(pictures, y, hyper, z_semantic, strict=True)
            sent = [self._sent(picture, *(row[None] for row in rest)) for picture, *rest in rows]
            y_gained = torch.cat([self._refine(one, byte, effort, progress) for one in sent])
        headers = [self._header(picture, byte) for picture in pictures]
        return self._write_files(y_gained, z_hat, hyper, headers, sections)

    @torch.inference_mode()
    def encode_to_size(
        self,
        image: Picture,
        target_bytes: int,
        *,
        background: Color | None = None,
        keep: Collection[Keepable] = (),
        effort: int = 0,
        progress: Progress | None = None,
    ) -> bytes:
        """One picture to a file of at most `target_bytes`, at the highest quality whose file fits.

        The file is the one that `encode` makes at this quality. The picture is analysed once; the entropy
        coding is repeated, at most nine times. What is kept beside the picture counts. With an effort above
        0, up to four qualities near that one are refined, and the highest whose file fits is taken.

        Raises:
            ImageError: a picture of an unknown form, with transparent places, or too large for the effort.
            ConfigError: even at quality 0 the file is larger, or an effort as `encode_batch` refuses.
        """
        self.check_effort(effort)
        (picture,), sections = _tensors([image], background, keep, effort)
        y, z_hat = self._analyse([picture])
        hyper, z_semantic = self.seam.hyper(z_hat)

        def written(y_gained: Tensor, byte: int) -> bytes:
            return self._write_files(y_gained, z_hat, hyper, [self._header(picture, byte)], sections)[0]

        def plain(byte: int) -> bytes:
            return written(self._gained(y, byte), byte)

        if not effort:
            return highest_within(plain, self.quality_bytes, target_bytes)
        sent = self._sent(picture, y, hyper, z_semantic)

        def refined(byte: int) -> bytes:
            return written(self._refine(sent, byte, effort, progress), byte) if byte else plain(byte)

        return refined_within(plain, refined, self.quality_bytes, target_bytes)

    @property
    def quality_bytes(self) -> Sequence[int]:
        """The quality bytes that lead to different files, lowest first."""
        if self.config.z_only:
            return (0,)
        return range(QUALITY_MAX + 1) if self.config.quality_knots else (0, QUALITY_MAX)

    def decode(
        self,
        data: File,
        *,
        output: Output = "pil",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        partial: bool = False,
        preview: bool = False,
    ) -> Any:
        """One .1dc file to a picture; see `decode_batch`."""
        return self.decode_batch(
            [data], output=output, max_pixels=max_pixels, partial=partial, preview=preview
        )[0]

    @torch.inference_mode()
    def decode_batch(
        self,
        files: Sequence[File],
        *,
        output: Output = "pil",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        partial: bool = False,
        preview: bool = False,
    ) -> list[Any]:
        """.1dc files of one padded size, of any qualities, to pictures.

        Args:
            files: whole files: their bytes, paths, or binary file objects.
            output: "pil", "numpy" ([H,W,3] uint8) or "torch" ([3,H,W] float32 in [-1,1], on the CPU). A
                stored alpha plane is a fourth channel. Only "pil" takes a stored profile into account: its
                pixels and info are then in that; its info also holds EXIF, and a description that says
                that details are generated.
            max_pixels: refuse pictures larger than this before anything is computed.
            partial: accept a file that is cut anywhere behind z, do not verify it, and decode z only.
            preview: decode z only.

        Raises:
            FormatError: damaged or foreign files, files of another model, too large, or of different padded
                sizes.
            ConfigError: an unknown output.
        """
        if output not in ("pil", "numpy", "torch"):
            raise ConfigError(f"output {output!r} is none of 'pil', 'numpy', 'torch'")
        contents = [self._unpack(read_file(file), max_pixels, partial) for file in files]
        if not contents:
            return []
        sizes = {(content.header.width, content.header.height) for content in contents}
        positions = _common_positions(sizes, "files of one picture size", FormatError)
        extras = [from_sections(c.sections, c.header.width, c.header.height) for c in contents]
        streams = [SymbolDecoder(content.payload) for content in contents]
        z_hat = self._read_z(streams, positions)
        hyper, z_semantic = self.seam.hyper(z_hat)
        z_only = partial or preview
        qualities = torch.tensor([0 if z_only else content.header.quality for content in contents])
        y_hat = self.seam.scan(hyper, qualities, _y_reader(streams, qualities))
        _check_ends(streams, contents, preview=preview, partial=partial)
        x_hat = self._synthesise(y_hat, z_semantic, qualities)
        pictures = [
            _as_output(x[:, : content.header.height, : content.header.width], output, beside)
            for x, content, beside in zip(x_hat, contents, extras, strict=True)
        ]
        if output == "pil":
            for picture, quality in zip(pictures, qualities.tolist(), strict=True):
                picture.info[DESCRIPTION] = note(self.model_id, quality)
        return pictures

    def verify(self, file: File, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        """Check that a .1dc file is whole and of these weights, without decoding it.

        Raises:
            FormatError: it is not, or it holds more pixels than `max_pixels`.
        """
        self._unpack(read_file(file), max_pixels, partial=False)

    def check_effort(self, effort: int) -> None:
        """Raise ConfigError for an effort that is none, or none for this model."""
        if check_effort(effort) and not self.config.quality_knots:
            raise ConfigError(
                f"effort {effort}: this model has no range of qualities to weigh bits by; use 0"
            )

    def _sent(self, picture: Tensor, y: Tensor, hyper: Tensor, z_semantic: Tensor) -> Sent:
        """One picture [1,3,H,W] with what `_analyse` and the seam made of it, as `_refine` takes it."""
        x = self._padded(picture)
        return Sent(
            x=picture.to(self.device),
            vae_latents=self.nets.vae.encode(x),
            y=y,
            hyper=hyper.to(self.device),
            z_semantic=z_semantic.to(self.device),
        )

    @torch.inference_mode(False)
    def _refine(self, sent: Sent, byte: int, effort: int, progress: Progress | None) -> Tensor:
        """y times the gain, float64, as an effort above 0 finds it."""
        prior = float_prior(self.config, self._seam_integers).to(self.device)
        found = Refiner(self.nets, prior, self._lpips).refine(sent, byte, STEPS[effort], progress)
        return found.to(self.seam.thresholds)

    def _gained(self, y: Tensor, byte: int) -> Tensor:
        """y [B,N,H/16,W/16] times the gain of a quality byte, float64."""
        return self.seam.gained(y, torch.full((len(y),), byte))

    def _padded(self, picture: Tensor) -> Tensor:
        """A picture as the networks take it."""
        return pad(picture).to(self.device, self.dtype, memory_format=torch.channels_last)

    def _analyse(self, pictures: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Pictures [1,3,H,W] -> y [B,N,H/16,W/16] and z_hat [B,7,H/64,W/64], one by one: the bytes of
        a picture are not to depend on its neighbours in the batch."""
        pairs = []
        for picture in pictures:
            x = self._padded(picture)
            pairs.append(self.nets.analyse(x, self.nets.vae_latents(x)))
        y, z_hat = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
        if not bool(y.isfinite().all()):
            raise ImageError("the picture's latents are not finite; try precision='fp32'")
        return y, z_hat

    def _header(self, picture: Tensor, byte: int) -> Header:
        height, width = picture.shape[-2:]
        return Header(model_id=self.model_id, quality=byte, width=width, height=height)

    def _write_files(
        self,
        y_gained: Tensor,
        z_hat: Tensor,
        hyper: Tensor,
        headers: Sequence[Header],
        sections: Sequence[dict[int, bytes]],
    ) -> list[bytes]:
        """Analysed pictures to the bytes of .1dc files; their headers state one quality, the gain's."""
        streams = [SymbolEncoder() for _ in y_gained]
        self._write_z(streams, z_hat)
        if headers[0].quality:
            qualities = torch.full((len(y_gained),), headers[0].quality)
            self.seam.scan(hyper, qualities, y_writer(streams, y_gained))
        return [
            pack(header, stream.finish(), self.fingerprint, beside)
            for header, stream, beside in zip(headers, streams, sections, strict=True)
        ]

    def _synthesise(self, y_hat: Tensor, z_semantic: Tensor, qualities: Tensor) -> Tensor:
        """Decoded latents -> x_hat [B,3,H,W] in the networks' precision."""
        y_hat, z_semantic = (
            t.to(self.device, self.dtype, memory_format=torch.channels_last) for t in (y_hat, z_semantic)
        )
        vae_latents = self.nets.synthesise(y_hat, z_semantic, qualities.to(self.device))
        return self.nets.vae.decode(vae_latents.to(self.dtype, memory_format=torch.channels_last))

    def _write_z(self, streams: list[SymbolEncoder], z_hat: Tensor) -> None:
        for stream, z_idx in zip(streams, FSQ.to_indices(z_hat).cpu().numpy(), strict=True):
            self.z_prior.encode(stream, z_idx)

    def _read_z(self, streams: list[SymbolDecoder], positions: tuple[int, int]) -> Tensor:
        """z_hat [B,7,H/64,W/64] of as many positions down and across."""
        z_idx = np.stack([self.z_prior.decode(stream, *positions) for stream in streams])
        return FSQ.from_indices(torch.from_numpy(z_idx))

    def _unpack(self, data: bytes, max_pixels: int, partial: bool) -> Contents:
        return unpack(
            data,
            fingerprint=self.fingerprint,
            model_id=self.model_id,
            max_pixels=max_pixels,
            least_position_bits=self.z_prior.least_position_bits,
            partial=partial,
        )


@torch.inference_mode(False)
def load(
    weights: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "auto",
    threads: int | None = None,
    metric_weights: str | Path | None = None,
) -> Codec:
    """Load a model.

    Args:
        weights: a weights file, or a family file of several rates; None is the bundled model.
        device: a torch device.
        precision: of the float networks; "auto" is bf16 where the processor is fast at it, else fp32.
        threads: CPU threads of this process from now on; None leaves torch's own choice.
        metric_weights: a folder with LPIPS_SQUEEZE_FILE, by which an effort above 0 judges decoded pictures;
            None: by the features of the model's own autoencoder.

    Raises:
        WeightsError: a weights file that is missing, damaged or of another kind; so for metric_weights.
        ConfigError: an unknown or unavailable device, an unknown precision, or fewer than one thread.
    """
    target = find_device(device)
    dtypes = {"auto": fast_dtype(target), "fp32": torch.float32, "bf16": torch.bfloat16}
    if precision not in dtypes:
        raise ConfigError(f"precision {precision!r} is none of 'auto', 'fp32', 'bf16'")
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"threads {threads} must be at least 1")
        torch.set_num_threads(threads)
    dtype = dtypes[precision]
    if weights is not None and is_family(weights):
        from onedc.family import FamilyCodec  # which is a Codec

        return FamilyCodec(read_family(weights), device=target, dtype=dtype)
    lpips = (
        None if metric_weights is None else read_lpips(Path(metric_weights) / LPIPS_SQUEEZE_FILE, "squeeze")
    )
    model = load_weights(BUNDLED if weights is None else weights, dtype=dtype)
    return Codec(model, device=target, dtype=dtype, lpips=lpips)


def export(path: str | Path, model: OneDC, *, model_id: int, dtype: torch.dtype = torch.float16) -> None:
    """Write a trained model as a weights file for `load`; its seam is converted to integers here.

    Raises:
        WeightsError: values that are not finite, or a seam that has no fixed-point form.
    """
    scale_table = load_tables().scale.tolist()
    save_weights(path, model, scale_table=scale_table, model_id=model_id, dtype=dtype)


def encode(
    image: Picture,
    *,
    quality: float = DEFAULT_QUALITY,
    background: Color | None = None,
    keep: Collection[Keepable] = (),
    effort: int = 0,
) -> bytes:
    """One picture to .1dc bytes with the bundled model; see `Codec.encode_batch`."""
    return bundled_codec().encode(image, quality=quality, background=background, keep=keep, effort=effort)


def decode(data: File, *, output: Output = "pil", max_pixels: int = DEFAULT_MAX_PIXELS) -> Any:
    """One .1dc file to a picture with the bundled model; see `Codec.decode_batch`."""
    return bundled_codec().decode(data, output=output, max_pixels=max_pixels)


def quality_byte(quality: float) -> int:
    """Quality 0..100 -> byte 0..255 of the header.

    Raises:
        ConfigError: not a number from 0 to 100.
    """
    if not isinstance(quality, (int, float)) or not 0 <= quality <= 100:
        raise ConfigError(f"quality {quality!r} is not a number from 0 to 100")
    return round(quality * QUALITY_MAX / 100)


def fingerprint(weights: Weights) -> bytes:
    """sha256 over all that a file's bits depend on: entropy tables, integer seam, learned prior of z."""
    return hashlib.sha256(bytes.fromhex(load_tables().sha256) + weights.seam_sha256).digest()


def bundled_codec() -> Codec:
    """The bundled model on the CPU, loaded once, however many threads ask for it."""
    with _bundled_lock:
        return _load_bundled()


_bundled_lock = Lock()
_load_bundled = cache(load)


def _z_prior(weights: Weights) -> ZPrior:
    integers = {name: value.numpy() for name, value in weights.z_prior.items()}
    return LearnedZPrior(integers) if integers else UniformZPrior()


def y_writer(streams: list[SymbolEncoder], y_gained: Tensor) -> Callable[[int, Tensor, Tensor], Tensor]:
    """The encoder's visitor of the four-step walk: quantises y and writes its symbols."""

    def code(part: int, table_idx: Tensor, mean: Tensor) -> Tensor:
        symbols = (collapse(y_gained, part) - mean).round_().clamp_(-SYMBOL_MAX, SYMBOL_MAX)
        for stream, values, tables in zip(streams, symbols, table_idx, strict=True):
            stream.encode(_flat(values, np.int32), _flat(tables, np.uint8))
        return symbols

    return code


def _y_reader(streams: list[SymbolDecoder], qualities: Tensor) -> Callable[[int, Tensor, Tensor], Tensor]:
    """The decoder's visitor of the four-step walk: reads symbols; zeros where there is no y section."""

    def code(part: int, table_idx: Tensor, mean: Tensor) -> Tensor:
        symbols = torch.zeros(table_idx.shape, dtype=torch.int32)
        for row, stream in enumerate(streams):
            if qualities[row] > 0:
                values = stream.decode(_flat(table_idx[row], np.uint8))
                symbols[row] = torch.from_numpy(values).view_as(symbols[row])
        return symbols.to(mean.device)

    return code


def _check_ends(
    streams: list[SymbolDecoder], contents: list[Contents], *, preview: bool, partial: bool
) -> None:
    """Refuse payloads that end too early or too late; a partial one must only hold all of z."""
    for stream, content in zip(streams, contents, strict=True):
        if preview and not partial:
            continue
        if partial and content.header.quality:
            stream.check_cut()
        else:
            stream.finish()


def _tensors(
    images: Sequence[Picture], background: Color | None, keep: Collection[Keepable], effort: int
) -> tuple[list[Tensor], list[dict[int, bytes]]]:
    """Pictures as [1,3,H,W] tensors of one padded size, and the sections of what is kept beside each.

    Raises:
        ImageError: none at all, different padded sizes, one that is no picture, or too large for the effort.
        ConfigError: something unknown to keep.
    """
    if not KEEPABLE.issuperset(keep):
        raise ConfigError(f"keep {list(keep)!r}: can hold {', '.join(sorted(KEEPABLE))}")
    loaded = [_loaded(image, background, keep) for image in images]
    pictures = [to_tensor(picture) for picture, _ in loaded]
    sizes = {(picture.shape[-1], picture.shape[-2]) for picture in pictures}
    _common_positions(sizes, "pictures of one size", ImageError)
    for width, height in sorted(sizes):
        if max(height, width) > SIDE_MAX_PX:
            raise ImageError(f"picture: {width}x{height} px; no side may exceed {SIDE_MAX_PX}")
    for picture in pictures if effort else ():
        check_size(picture)
    return pictures, [sections for _, sections in loaded]


def _loaded(
    image: Picture, background: Color | None, keep: Collection[Keepable]
) -> tuple[NDArray[np.uint8] | Tensor, dict[int, bytes]]:
    """A picture in any form as an array or tensor, and the sections of what is kept beside it."""
    if isinstance(image, (np.ndarray, Tensor)):
        return image, {}
    if isinstance(image, Loaded):
        found = image
    elif isinstance(image, Image.Image):
        found = to_picture(image, background=background, keep=keep)
    elif isinstance(image, (str, os.PathLike, bytes)) or hasattr(image, "read"):
        found = read_picture(image, background=background, keep=keep)
    else:
        raise ImageError(
            f"a picture must be a Pillow image, a file, an array or a tensor, not {type(image).__name__}"
        )
    return found.rgb, to_sections(found.extras)


def _common_positions(sizes: set[tuple[int, int]], needed: str, error: type[OneDCError]) -> tuple[int, int]:
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


def _as_output(x: Tensor, output: Output, extras: Extras) -> Any:
    """One picture [3,H,W], with its alpha plane as a fourth channel, in the form asked for."""
    if output == "pil":
        return _as_image(to_bytes(x), extras)
    alpha = None if extras.alpha is None else np.array(extras.alpha)
    if output == "torch":
        tensor = x.float().clamp(-1, 1).cpu()
        return tensor if alpha is None else torch.cat([tensor, torch.from_numpy(alpha)[None] / 127.5 - 1])
    array = to_bytes(x)
    return array if alpha is None else np.dstack([array, alpha])


def _as_image(array: NDArray[np.uint8], extras: Extras) -> Image.Image:
    """[H,W,3] sRGB as a Pillow image, in the stored profile and with the rest of what was kept."""
    image = Image.fromarray(array)
    if extras.icc is not None:
        image = apply_profile(image, extras.icc)
    if extras.alpha is not None:
        image.putalpha(extras.alpha)
    if extras.exif is not None:
        image.info["exif"] = b"Exif\0\0" + extras.exif
    return image


def _flat(values: Tensor, dtype: type[np.generic]) -> NDArray[Any]:
    """One picture's [C,h,w] in format order: channel, row, column."""
    return values.cpu().numpy().astype(dtype).reshape(-1)
