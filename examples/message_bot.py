"""Photos of a folder go out as messages of a hard size, and pictures come of the messages that arrive.

    python examples/message_bot.py receive pictures/ --over tcp-listen:7000
    python examples/message_bot.py send photos/ --over tcp:localhost:7000 --size 157 --parity 1
    python examples/message_bot.py send photos/ --over meshtastic --size 220 --bytes 800 --pause 10

Over TCP a message is a frame of two bytes of length and its content: a stand-in for a modem behind a port.
Over Meshtastic it is one packet of a private port number, by a radio at the serial port.
"""

from __future__ import annotations

import argparse
import queue
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import onedc
from onedc.image import READABLE_SUFFIXES
from onedc.messages import file_of, join, split


class Transport(Protocol):
    """What carries messages."""

    def send(self, message: bytes) -> None:
        """Hand one message to the channel, which may lose it."""

    def receive(self) -> Iterator[bytes | None]:
        """Messages as they arrive; None now and then where none does; ends when the channel is closed."""


class Tcp:
    """Frames over a TCP connection, that of the first peer that calls where `listen` is given."""

    def __init__(self, host: str, port: int, *, listen: bool = False) -> None:
        if listen:
            with socket.create_server((host, port)) as server:
                self._socket, _ = server.accept()
        else:
            self._socket = socket.create_connection((host, port), timeout=30)
        self._socket.settimeout(1)

    def send(self, message: bytes) -> None:
        """See `Transport`."""
        self._socket.sendall(len(message).to_bytes(2, "big") + message)

    def receive(self) -> Iterator[bytes | None]:
        """See `Transport`."""
        pending = b""
        with self._socket:
            while (chunk := self._chunk()) != b"":
                if chunk is None:
                    yield None
                    continue
                pending += chunk
                while len(pending) >= 2 and len(pending) >= (end := 2 + int.from_bytes(pending[:2], "big")):
                    yield pending[2:end]
                    pending = pending[end:]

    def _chunk(self) -> bytes | None:
        """What has arrived; None: nothing for a second; empty: the other side has closed."""
        try:
            return self._socket.recv(4096)
        except TimeoutError:
            return None


class Meshtastic:
    """Packets of a Meshtastic radio at the serial port, to everyone on its first channel."""

    def __init__(self) -> None:
        try:
            import meshtastic.serial_interface
            from meshtastic.protobuf.portnums_pb2 import PRIVATE_APP
            from pubsub import pub
        except ImportError as error:
            raise SystemExit(f"{error.name} is not installed: pip install meshtastic") from error
        self._port: int = PRIVATE_APP
        self._arrived: queue.Queue[bytes] = queue.Queue()
        self._topic = pub  # subscribers are held weakly: by their object
        pub.subscribe(self._note, "meshtastic.receive")
        self._radio: Any = meshtastic.serial_interface.SerialInterface()

    def _note(self, packet: dict[str, Any], interface: Any) -> None:
        decoded = packet.get("decoded", {})
        if decoded.get("portnum") == "PRIVATE_APP":
            self._arrived.put(decoded["payload"])

    def send(self, message: bytes) -> None:
        """See `Transport`."""
        self._radio.sendData(message, portNum=self._port)

    def receive(self) -> Iterator[bytes | None]:
        """See `Transport`."""
        while True:
            try:
                yield self._arrived.get(timeout=1)
            except queue.Empty:
                yield None


def send(folder: Path, transport: Transport, *, size: int, parity: int, total: int, pause_s: float) -> int:
    """Send every picture of a folder, shrunk to look best in `total` bytes; returns how many."""
    codec = onedc.load()
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE_SUFFIXES)
    for photo in photos:
        data = codec.encode_to_size(photo, total)
        messages = [data] if len(data) <= size else split(data, size, parity=parity)
        for message in messages:
            transport.send(message)
            time.sleep(pause_s)
        print(f"{photo.name}: {len(data)} bytes in {len(messages)} messages", flush=True)
    return len(photos)


class Inbox:
    """Messages by the file they belong to, and the pictures of those files that are complete.

    Args:
        folder: of the pictures.
        patience_s: so long after a file's last message no more of it is expected.
    """

    def __init__(self, folder: Path, *, patience_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.patience_s = folder, patience_s
        self._codec = onedc.load()
        self._waiting: dict[Any, list[bytes]] = {}
        self._last: dict[Any, float] = {}
        self._done: set[Any] = set()

    def take(self, message: bytes) -> None:
        """One message; its file's picture is written when it is the last that was needed."""
        key = file_of(message)
        if key is None:
            print("a foreign message is left out", flush=True)
            return
        self._last[key] = time.monotonic()
        if key not in self._done:
            self._waiting.setdefault(key, []).append(message)
            self._try(key, late=False)

    def tidy(self, *, closing: bool = False) -> None:
        """Show what there is of files whose messages have ceased to come, and forget them."""
        oldest = time.monotonic() - self.patience_s
        for key in [key for key, last in self._last.items() if closing or last < oldest]:
            if key in self._waiting:
                self._try(key, late=True)
            self._last.pop(key)
            self._waiting.pop(key, None)
            self._done.discard(key)

    def _try(self, key: Any, *, late: bool) -> None:
        try:
            found = join(self._waiting[key])
            if not found.whole and not late:
                return
            picture = self._codec.decode(found.data, partial=not found.whole)
        except onedc.OneDCError as error:
            if late:
                print(f"a picture is lost: {error}", flush=True)
            return
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}"
        path = self.folder / (f"{stem}.png" if found.whole else f"{stem}-part.png")
        picture.save(path)
        self._waiting.pop(key)
        self._done.add(key)
        print(f"{path.name}: {len(found.data)} bytes", flush=True)


def receive(folder: Path, transport: Transport, *, patience_s: float) -> None:
    """Write pictures into a folder until the channel is closed."""
    inbox = Inbox(folder, patience_s=patience_s)
    for message in transport.receive():
        if message is not None:
            inbox.take(message)
        inbox.tidy()
    inbox.tidy(closing=True)


def transport_of(text: str) -> Transport:
    """ "tcp:HOST:PORT", "tcp-listen:PORT" or "meshtastic"."""
    kind, _, place = text.partition(":")
    host, _, port = place.rpartition(":")
    if kind == "meshtastic" and not place:
        return Meshtastic()
    if kind not in ("tcp", "tcp-listen") or not port.isdigit():
        raise SystemExit(f"--over {text}: is none of tcp:HOST:PORT, tcp-listen:PORT, meshtastic")
    return Tcp(host or "localhost", int(port), listen=kind == "tcp-listen")


def main() -> None:
    """Send or receive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("task", choices=("send", "receive"))
    parser.add_argument("folder", type=Path, help="photos to send, or where pictures go")
    parser.add_argument("--over", required=True, help="tcp:HOST:PORT, tcp-listen:PORT or meshtastic")
    parser.add_argument("--size", type=int, default=157, help="most bytes of a message (%(default)s)")
    parser.add_argument("--parity", type=int, default=0, help="messages that may be lost (%(default)s)")
    parser.add_argument("--bytes", type=int, help="of a whole picture (default: one message)")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between messages (%(default)s)")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait (%(default)s)")
    args = parser.parse_args()
    try:
        transport = transport_of(args.over)
    except OSError as error:
        raise SystemExit(f"--over {args.over}: {error}") from error
    try:
        if args.task == "receive":
            receive(args.folder, transport, patience_s=args.patience)
        else:
            total = args.bytes or args.size
            send(args.folder, transport, size=args.size, parity=args.parity, total=total, pause_s=args.pause)
    except (onedc.OneDCError, OSError) as error:
        raise SystemExit(f"{args.folder}: {error}") from error


if __name__ == "__main__":
    main()
