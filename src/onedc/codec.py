"""The codec: pictures to .1dc bytes and back. Read this file first, then `coding.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from onedc import coding
from onedc.container.header import Form
from onedc.container.packing import (
    DEFAULT_MAX_PIXELS,
    File,
    quality_byte,
    read_file,
    read_header,
)
from onedc.effort.level import Effort, Progress
from onedc.engine.models import ModelSource, ReadyModel
from onedc.errors import ConfigError, FormatError
from onedc.image.forms import Output, Picture, Source, check_output, read_batch
from onedc.image.shrink import Size, advice
from onedc.latents import Latents, analyse
from onedc.options import DecodeOptions, EncodeOptions
from onedc.target_size import DEFAULT_QUALITY, DoesNotFitError, check_fits, highest_within, refined_within

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
            return coding.write(model, analyse(model, sources), byte, effort, form)

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
        (source,), effort, form = self._read([image], target_bytes if shrink else None, **options)
        best = self._within(source, target_bytes, effort, form)
        less = source.smaller() if shrink and len(self.quality_bytes) > 1 else None
        while less is not None and not read_header(best).quality:
            tried = self._within(less, target_bytes, effort, form)
            best, less = tried if read_header(tried).quality else best, less.smaller()
        return best

    def encode_and_show(
        self,
        image: Picture,
        *,
        quality: float = DEFAULT_QUALITY,
        target_bytes: int | None = None,
        shrink: bool = True,
        **options: Unpack[EncodeOptions],
    ) -> tuple[bytes, Image]:
        """As `encode`, or as `encode_to_size` with a target, and the picture that the file decodes to."""
        if target_bytes is None:
            data = self.encode(image, quality=quality, **options)
        else:
            data = self.encode_to_size(image, target_bytes, shrink=shrink, **options)
        return data, self.decode(data, max_pixels=None)

    def _within(self, source: Source, target_bytes: int, effort: Effort, form: Form | None) -> bytes:
        """The best file of a picture at its size. Raises DoesNotFitError."""
        latents: dict[int, Latents] = {}

        def write(byte: int, effort: Effort = ONE_PASS) -> bytes:
            with self.models.at(byte) as model:
                member = self.models.member_of(byte)
                if member not in latents:
                    latents[member] = analyse(model, [source])
                return coding.write(model, latents[member], byte, effort, form)[0]

        try:
            with self.models.at(self.quality_bytes[0]) as model:
                check_fits(target_bytes, coding.least_bytes(model, source, form), "at least ")
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
                pictures = coding.decode(
                    model, contents, output, preview=preview, cut=partial, full_size=full_size
                )
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
