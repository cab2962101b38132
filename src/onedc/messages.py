"""A .1dc file in messages of a hard size, with parity against lost ones, and back.

`docs/messages.md` says how a message is built. Knows the first bytes of a file and nothing else of it.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from onedc.container.header import begins_file
from onedc.errors import ConfigError, FormatError, optional

HEAD_BYTES = 2
"""Bytes that each message has for itself."""
MOST_MESSAGES = 16
"""Most messages of one file, those of parity among them."""
MOST_PARITY = 8
"""Most messages of parity of one file."""

_END = b"\x80"  # behind the last part, where parity needs all parts of one length
_UNFIT = "the messages do not fit together: one is damaged, or of another picture with the same tag"
_TEXT_GROUP = 4, 5  # bytes, and the characters that they become


class Message(NamedTuple):
    """A message taken apart."""

    number: int  # from 0; from `parts` on it is parity
    parts: int  # of the file, 1 to 16
    tag: int  # low byte of the file's CRC-32: which file it belongs to
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What messages give."""

    data: bytes  # the file, or what of it stands before the first hole
    missing: tuple[int, ...]  # numbers, from 0, of the parts that are not there and could not be repaired
    parts: int  # of the file
    foreign: tuple[int, ...]  # places, in the order given, of what belongs to no message of this file

    @property
    def whole(self) -> bool:
        """Whether `data` is the file."""
        return not self.missing


def split(data: bytes, size: int, *, parity: int = 0) -> list[bytes]:
    """The messages of a .1dc file, those of parity at the end.

    Args:
        data: the file.
        size: the most bytes of a message.
        parity: messages more than the file needs: as many may be lost, whichever they are.

    Raises:
        FormatError: not a .1dc file.
        ConfigError: no such number of messages, or a size that takes more than MOST_MESSAGES.
        MissingExtraError: parity without the package that computes it.
    """
    if not begins_file(data):
        raise FormatError("not a .1dc file: it begins with other bytes")
    if not 0 <= parity <= MOST_PARITY:
        raise ConfigError(f"parity {parity} is not between 0 and {MOST_PARITY}")
    length = len(data) + (len(_END) if parity else 0)
    most = MOST_MESSAGES - parity
    if size - HEAD_BYTES < -(-length // most):
        least = -(-length // most) + HEAD_BYTES
        raise ConfigError(
            f"size {size}: {len(data)} bytes and parity {parity} take more than {MOST_MESSAGES} messages; "
            f"use messages of {least} bytes or a smaller file"
        )
    count = -(-length // (size - HEAD_BYTES))
    step = -(-length // count)
    bodies = [data[start : start + step] for start in range(0, count * step, step)]
    if parity:
        ended = [*bodies[:-1], bodies[-1] + _END]
        bodies += _parity([body.ljust(step, b"\0") for body in ended])[:parity]
    tag = _tag(data)
    return [bytes([count - 1 << 4 | number, tag]) + body for number, body in enumerate(bodies)]


def join(messages: Iterable[bytes]) -> Joined:
    """The file that messages hold, in any order, some of them twice or of other files.

    The file with the most messages is taken; those of others are named in the result. A message of which two
    versions came counts as lost. A message that is a whole file is taken as such.

    Raises:
        FormatError: no message among them, no file that has more than every other one, or messages that do
            not fit together: damaged, or of another file whose tag is the same.
        MissingExtraError: a part has to be repaired, without the package for that.
    """
    given = [bytes(message) for message in messages]
    keys = [file_of(message) for message in given]
    chosen = _most_common(keys, given)
    foreign = tuple(place for place, key in enumerate(keys) if key != chosen)
    if isinstance(chosen, bytes):
        return Joined(data=chosen, missing=(), parts=1, foreign=foreign)
    count, tag = chosen
    bodies = _bodies([_read(message) for message, key in zip(given, keys, strict=True) if key == chosen])
    missing = tuple(number for number in range(count) if number not in bodies)
    if missing and len(bodies) >= count:
        data, missing = _repaired(bodies, count), ()
    else:
        data = b"".join(bodies[number] for number in range(missing[0] if missing else count))
    if not missing and _tag(data) != tag:
        raise FormatError(_UNFIT)
    return Joined(data=data, missing=missing, parts=count, foreign=foreign)


def file_of(message: bytes) -> bytes | tuple[int, int] | None:
    """What messages of one file have in common: its number of parts and tag.

    A message that is a whole file is common to itself alone; None: not a message of any file.
    """
    if begins_file(message):
        return message
    if len(message) < HEAD_BYTES or _read(message).number >= _read(message).parts + MOST_PARITY:
        return None
    return _read(message).parts, _read(message).tag


def to_text(message: bytes) -> str:
    """A message, or a whole file, as a line of base-85 text (RFC 1924's characters)."""
    return base64.b85encode(message).decode("ascii")


def from_text(line: str) -> bytes:
    """The message that `to_text` made a line of; spaces at its ends do not count.

    Raises:
        FormatError: not such a line.
    """
    try:
        return base64.b85decode(line.strip())
    except ValueError as error:
        raise FormatError(f"not a line of base-85 text: {error}") from error


def bytes_of_text(characters: int) -> int:
    """The most bytes of a message whose line has at most this many characters."""
    return characters * _TEXT_GROUP[0] // _TEXT_GROUP[1]


def _read(message: bytes) -> Message:
    return Message((message[0] & 0xF), (message[0] >> 4) + 1, message[1], message[HEAD_BYTES:])


def _most_common(
    keys: Sequence[bytes | tuple[int, int] | None], given: Sequence[bytes]
) -> bytes | tuple[int, int]:
    """The file with the most different messages."""
    distinct = {message: key for key, message in zip(keys, given, strict=True) if key is not None}
    ranked = Counter(distinct.values()).most_common(2)
    if not ranked:
        raise FormatError("none of these is a message of a .1dc file")
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        raise FormatError(
            "messages of several pictures, none with more messages than the others: join each separately"
        )
    return ranked[0][0]


def _bodies(own: Sequence[Message]) -> dict[int, bytes]:
    """number -> body, without those that came in two versions or have a length that cannot be."""
    versions: dict[int, set[bytes]] = {}
    for message in own:
        versions.setdefault(message.number, set()).add(message.body)
    bodies = {number: found.pop() for number, found in versions.items() if len(found) == 1}
    last = own[0].parts - 1
    lengths = Counter(len(body) for number, body in bodies.items() if number != last)
    if not lengths:
        return bodies
    step = lengths.most_common(1)[0][0]
    return {n: body for n, body in bodies.items() if len(body) == step or (n == last and len(body) < step)}


def _repaired(bodies: Mapping[int, bytes], count: int) -> bytes:
    """The file, of at least `count` bodies; with more, the others must agree.

    Raises:
        FormatError: they contradict each other, or give nothing that has an end.
    """
    step = max(map(len, bodies.values()))
    last = count - 1
    rows = {n: (body + _END if n == last else body).ljust(step, b"\0") for n, body in sorted(bodies.items())}
    if any(len(row) > step for row in rows.values()):
        raise FormatError(_UNFIT)
    parts = _restored(dict(list(rows.items())[:count]), count, step)
    parity = _parity(parts)
    data = b"".join(parts).rstrip(b"\0")
    fitting = all(parity[number - count] == row for number, row in rows.items() if number >= count)
    if not fitting or not data.endswith(_END):
        raise FormatError(_UNFIT)
    return data[: -len(_END)]


def _parity(parts: Sequence[bytes]) -> list[bytes]:
    """MOST_PARITY messages of parity of parts of one length."""
    columns = bytes(byte for column in zip(*parts, strict=True) for byte in column)
    width = len(parts) + MOST_PARITY
    coded = bytes(optional("reedsolo", "messages").RSCodec(MOST_PARITY, nsize=width).encode(columns))
    return [coded[len(parts) + index :: width] for index in range(MOST_PARITY)]


def _restored(rows: Mapping[int, bytes], count: int, step: int) -> list[bytes]:
    """All parts [step], of any `count` rows [step] of parts and parity."""
    width = count + MOST_PARITY
    table = [rows.get(number, bytes(step)) for number in range(width)]
    lost = [number for number in range(width) if number not in rows]
    library = optional("reedsolo", "messages")
    codec = library.RSCodec(MOST_PARITY, nsize=width)
    try:
        columns = [
            bytes(codec.decode(bytes(column), erase_pos=lost, only_erasures=True)[0])
            for column in zip(*table, strict=True)
        ]
    except library.ReedSolomonError as error:
        raise FormatError(_UNFIT) from error
    return [bytes(part) for part in zip(*columns, strict=True)]


def _tag(data: bytes) -> int:
    return zlib.crc32(data) & 0xFF
