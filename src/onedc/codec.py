"""The codec: pictures to .1dc bytes and back. Read this file first.

`_write` and `_decode` are mirror images, one verb a line. Networks are behind an engine (`engine.protocol`);
all between z and y runs in integers there, so that both walk through the same entropy tables on any machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from onedc.container.header import Form
from onedc.container.packing import (
    DEFAULT_MAX_PIXELS,
    Contents,
    File,
    least_payload_bytes,
    note,
    pack,
    quality_byte,
    read_file,
    read_header,
)
from onedc.container.side_data import from_sections
from onedc.effort.level import Effort, Progress
from onedc.engine.source import ModelSource, ReadyModel
from onedc.entropy.coder import SymbolDecoder
from onedc.errors import ConfigError, FormatError
from onedc.image.forms import Output, Picture, Source, as_output, check_output, common_positions, read_batch
from onedc.image.shrink import Size, advice
from onedc.latents import Latents, analyse, gained
from onedc.options import DecodeOptions, EncodeOptions
from onedc.rate import DEFAULT_QUALITY, DoesNotFitError, check_fits, highest_within, refined_within
from onedc.seam.parts import check_z, read_cut, read_whole, y_reader, y_writer

if TYPE_CHECKING:
    from PIL.Image import Image

ONE_PASS = Effort()


class Codec:
    """A model, or a family of several rates, ready to encode and decode: see `load`. Threads may share one.

    Args:
        models: supplies the model for a quality.
    """

    def __init__(self, models: ModelSource) -> None:
        self.models = models
        self.config, self.model_id = models.config, models.model_id

    @property
    def model(self) -> ReadyModel:
        """The model of the default quality."""
        with self.models.at(quality_byte(DEFAULT_QUALITY)) as model:
            return model

    @property
    def quality_bytes(self) -> Sequence[int]:
        """The quality bytes that lead to different files, lowest first."""
        return self.models.quality_bytes

    def compile(self) -> None:
        """Have the engine make kernels of the float networks: at the first picture of each size, which takes
        minutes, and from the user's cache at the next start. The seam and the files stay as they are.

        Raises:
            ConfigError: the engine cannot; torch on a CPU needs a C++ compiler.
        """
        self.models.compile()

    def encode(
        self, image: Picture, *, quality: float = DEFAULT_QUALITY, **options: Unpack[EncodeOptions]
    ) -> bytes:
        """One picture to the bytes of a .1dc file; see `encode_batch`."""
        return self.encode_batch([image], quality=quality, **options)[0]

    def encode_batch(
        self, images: Sequence[Picture], *, quality: float = DEFAULT_QUALITY, **options: Unpack[EncodeOptions]
    ) -> list[bytes]:
        """Pictures of one padded size to the bytes of .1dc files, the same bytes as one by one.

        Args:
            images: Pillow images, picture files, [H,W,3] uint8 arrays, or [3,H,W] float tensors in [-1,1].
                Their sides must be the same once extended to multiples of 64.
            quality: 0 (z only, 0.0034 bits per pixel) to 100. A model trained for z only takes 0 always.
            options: background, keep, effort, progress; see `EncodeOptions`.

        Raises:
            ImageError: pictures of different padded sizes, of an unknown form or with transparent places,
                too large for an effort above 0, files that cannot be read.
            ConfigError: a quality outside 0..100, something unknown to keep, an effort outside 0..9, or one
                above 0 with a model of a single rate.
        """
        byte = quality_byte(quality)
        sources, effort, form = self._read(images, None, **options)
        with self.models.at(byte) as model:
            return [written.data for written in _write(model, analyse(model, sources), byte, effort, form)]

    def encode_to_size(
        self, image: Picture, target_bytes: int, *, shrink: bool = True, **options: Unpack[EncodeOptions]
    ) -> bytes:
        """One picture to a file of at most `target_bytes`, at the highest quality whose file fits.

        The file is the one that `encode` makes at this quality. A model analyses the picture once; the
        entropy coding is repeated some five times. What is kept beside the picture counts. With an effort
        above 0, up to four qualities near that one are refined, and the highest whose file fits is taken.
        A picture that looks better smaller in so many bytes is shrunk first, and more where none of its y
        fits, unless `shrink` is False.

        Raises:
            ImageError: a picture of an unknown form, with transparent places, or too large for the effort.
            ConfigError: even at quality 0 the file is larger, or an effort as `encode_batch` refuses.
        """
        return self._to_size(image, target_bytes, shrink=shrink, **options).data

    def encode_and_show(
        self,
        image: Picture,
        *,
        quality: float = DEFAULT_QUALITY,
        target_bytes: int | None = None,
        shrink: bool = True,
        **options: Unpack[EncodeOptions],
    ) -> tuple[bytes, Image]:
        """As `encode`, or as `encode_to_size` if a target is given, and the picture that the file decodes to.

        The picture comes from the latents that were coded; the file is not decoded.
        """
        if target_bytes is not None:
            written = self._to_size(image, target_bytes, shrink=shrink, **options)
        else:
            sources, effort, form = self._read([image], None, **options)
            with self.models.at(quality_byte(quality)) as model:
                (written,) = _write(model, analyse(model, sources), quality_byte(quality), effort, form)
        with self.models.at(read_header(written.data).quality) as model:
            return written.data, _show(model, written)

    def _to_size(
        self, image: Picture, target_bytes: int, *, shrink: bool, **options: Unpack[EncodeOptions]
    ) -> _Written:
        """See `encode_to_size`."""
        (source,), effort, form = self._read([image], target_bytes if shrink else None, **options)
        best = self._within(source, target_bytes, effort, form)
        less = source.smaller() if shrink and len(self.quality_bytes) > 1 else None
        while less is not None and not read_header(best.data).quality:
            tried = self._within(less, target_bytes, effort, form)
            best, less = tried if read_header(tried.data).quality else best, less.smaller()
        return best

    def _within(self, source: Source, target_bytes: int, effort: Effort, form: Form | None) -> _Written:
        """The best file of a picture at its size. Raises DoesNotFitError."""
        latents: dict[int, Latents] = {}

        def write(byte: int, effort: Effort = ONE_PASS) -> _Written:
            with self.models.at(byte) as model:
                member = self.models.member_of(byte)
                if member not in latents:
                    latents[member] = analyse(model, [source])
                return _write(model, latents[member], byte, effort, form)[0]

        try:
            with self.models.at(self.quality_bytes[0]) as model:
                check_fits(target_bytes, _least_bytes(model, source, form), "at least ")
            if not effort.level:
                return highest_within(write, self.quality_bytes, target_bytes)
            return refined_within(write, lambda byte: write(byte, effort), self.quality_bytes, target_bytes)
        except DoesNotFitError as error:
            hint = advice(source.width, source.height, target_bytes)
            raise DoesNotFitError(f"{error}{hint}") from None

    def decode(self, data: File, **options: Unpack[DecodeOptions]) -> Any:
        """One .1dc file to a picture; see `decode_batch`."""
        return self.decode_batch([data], **options)[0]

    def decode_batch(
        self,
        files: Sequence[File],
        *,
        output: Output = "pil",
        max_pixels: int | None = DEFAULT_MAX_PIXELS,
        partial: bool = False,
        preview: bool = False,
        full_size: bool = False,
    ) -> list[Any]:
        """.1dc files of one padded size, of any qualities, to pictures.

        Args:
            files: whole files: their bytes, paths, or binary file objects.
            output: "pil", "numpy" ([H,W,3] uint8) or "torch" ([3,H,W] float32 in [-1,1], on the CPU). A
                stored alpha plane is a fourth channel. Only "pil" takes a stored profile into account: its
                pixels and info are then in that; its info also holds EXIF, and a description that says
                that details are generated.
            max_pixels: refuse pictures larger than this before anything is computed.
            partial: accept a file that is cut anywhere behind z, do not verify it, and decode z and the parts
                of y that are whole.
            preview: decode z only.
            full_size: hand pictures that were shrunk out at their originals' size.

        Raises:
            FormatError: damaged or foreign files, files of another model, too large, or of different padded
                sizes.
            ConfigError: an unknown output.
            MissingExtraError: output "torch" without torch.
        """
        check_output(output)
        data = [read_file(file) for file in files]
        places: dict[int, list[int]] = defaultdict(list)
        for place, one in enumerate(data):
            places[self.models.member_of(read_header(one).quality)].append(place)
        decoded: dict[int, Any] = {}
        for alike in places.values():
            with self.models.at(read_header(data[alike[0]]).quality) as model:
                limits = {"max_pixels": max_pixels, "partial": partial, "full_size": full_size}
                contents = [model.unpack(data[place], **limits) for place in alike]
                pictures = _decode(model, contents, output, preview=preview, cut=partial, full_size=full_size)
            decoded |= zip(alike, pictures, strict=True)
        return [decoded[place] for place in range(len(data))]

    def verify(self, file: File, *, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> None:
        """Check that a .1dc file is whole and of these weights, without decoding it.

        Raises:
            FormatError: it is not, has no checksum to tell, or holds more pixels than `max_pixels`.
        """
        data = read_file(file)
        with self.models.at(read_header(data).quality) as model:
            if model.unpack(data, max_pixels=max_pixels).form is Form.UNCHECKED:
                raise FormatError("the file has no checksum, so nothing can verify it")

    def check_effort(self, level: int) -> None:
        """Raise ConfigError for an effort that is none, or none for this model."""
        if Effort(level).level and not self.config.quality_knots:
            raise ConfigError(f"effort {level}: this model has no range of qualities to weigh bits by; use 0")

    def _read(
        self,
        images: Sequence[Picture],
        target_bytes: int | None,
        *,
        effort: int = 0,
        progress: Progress | None = None,
        max_side: int | None = None,
        check: bool = True,
        **beside: Any,
    ) -> tuple[list[Source], Effort, Form | None]:
        """Pictures, effort and form of file of the options; pictures shrunk for `target_bytes`, if any."""
        wanted, size = ONE_PASS, None
        if effort != 0 or type(effort) is not int:  # None and False are no effort
            self.check_effort(effort)
            wanted = Effort(effort, progress)
        if max_side is not None or target_bytes is not None:
            size = Size(max_side=max_side, target_bytes=target_bytes)
        sources = read_batch(images, size, **beside)
        for source in sources if wanted.level else ():
            wanted.check_size(source.width, source.height)
        return sources, wanted, None if check else Form.UNCHECKED


@dataclass(frozen=True)
class _Written:
    """A file, and the latents that it holds."""

    data: bytes
    latents: Latents
    y_hat: NDArray[np.float32] | None  # [B,N,h/16,w/16] of all that were written with it; None: no y

    def __len__(self) -> int:
        return len(self.data)


def _least_bytes(model: ReadyModel, source: Source, form: Form | None) -> int:
    """No file of the picture has fewer bytes: what is known before the networks run."""
    header = source.header(model.model_id, 0)
    payload = bytes(least_payload_bytes(header, model.z_prior.least_position_millibits))
    return len(pack(header, payload, model.fingerprint, source.sections, form=form))


def _write(
    model: ReadyModel, latents: Latents, byte: int, effort: Effort, form: Form | None
) -> list[_Written]:
    """Latents of pictures to .1dc files of one quality."""
    byte = 0 if model.config.z_only else byte
    streams = [stream.copy() for stream in latents.z_streams]
    y_hat = None
    if byte:
        y_gained = gained(model, latents, byte, effort)
        qualities = np.full(len(streams), byte, np.int64)
        code = y_writer(streams, y_gained, latents.seen(byte))
        y_hat = model.engine.seam.scan(latents.hyper.features, qualities, code)
    files = []
    for stream, source in zip(streams, latents.sources, strict=True):
        header = source.header(model.model_id, byte)
        data = pack(header, stream.finish(), model.fingerprint, source.sections, form=form)
        files.append(_Written(data, latents, y_hat))
    return files


def _decode(
    model: ReadyModel,
    contents: Sequence[Contents],
    output: Output,
    *,
    preview: bool,
    cut: bool,
    full_size: bool,
) -> list[Any]:
    """Files of one model to pictures; `cut`: they may end anywhere behind z."""
    headers = [content.header for content in contents]
    sizes = {(header.width, header.height) for header in headers}
    positions = common_positions(sizes, "files of one picture size", FormatError)
    side_data = [from_sections(c.sections, c.header.width, c.header.height) for c in contents]
    streams = [SymbolDecoder(content.payload) for content in contents]
    z_idx = np.stack([model.z_prior.decode(stream, *positions) for stream in streams])
    features, z_semantic = model.engine.seam.hyper(z_idx)
    qualities = np.array([0 if preview else header.quality for header in headers])
    if cut:
        check_z(streams, [header.quality for header in headers])
        y_hat, parts = read_cut(model.engine.seam, features, streams, qualities)
        qualities = np.where(parts, qualities, 0)
    else:
        y_hat, parts = read_whole(model.engine.seam, features, streams, qualities, to_end=not preview)
    del features  # of a large picture more than y
    batch = model.engine.synthesise(y_hat, z_semantic, qualities, as_floats=output == "torch")
    pictures = []
    for row, (pixels, content) in enumerate(zip(batch, contents, strict=True)):
        verified = not cut and content.form is not Form.UNCHECKED
        text = note(model.model_id, int(qualities[row]), parts=int(parts[row]), verified=verified)
        pictures.append(as_output(pixels, output, side_data[row], content.header, text, full_size=full_size))
    return pictures


def _show(model: ReadyModel, written: _Written) -> Image:
    """What a file of one picture decodes to, from the latents that were coded."""
    content, hyper, y_hat = model.unpack(written.data, max_pixels=None), written.latents.hyper, written.y_hat
    header, qualities = content.header, np.array([content.header.quality])
    if y_hat is None:
        y_hat = model.engine.seam.scan(hyper.features, qualities, y_reader([], qualities))
    (pixels,) = model.engine.synthesise(y_hat, hyper.z_semantic, qualities, as_floats=False)
    side_data = from_sections(content.sections, header.width, header.height)
    text = note(model.model_id, header.quality, verified=content.form is not Form.UNCHECKED)
    picture: Image = as_output(pixels, "pil", side_data, header, text)
    return picture
