"""The example that turns photos into messages and back, over channels that lose and repeat."""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import onedc
from onedc.messages import join

EXAMPLES = Path(__file__).parents[2] / "examples"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bot() -> ModuleType:
    return loaded("message_bot")


class Recorded:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.messages.append(message)


@pytest.fixture(scope="module")
def sent(bot: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The messages of one photo: three and one of parity."""
    pytest.importorskip("reedsolo")
    folder = tmp_path_factory.mktemp("photos")
    with Image.open(EXAMPLES / "photo.webp") as image:
        image.resize((192, 128)).save(folder / "boats.PNG")
    (folder / "notes.txt").write_text("no photo")
    channel = Recorded()
    assert bot.send(folder, channel, size=60, parity=1, total=150, pause_s=0) == 1
    return channel.messages


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_of_the_messages_may_be_lost_and_others_come_twice(
    bot: ModuleType, sent: list[bytes], tmp_path: Path
) -> None:
    assert len(sent) == 4 and max(map(len, sent)) <= 60
    inbox = bot.Inbox(tmp_path / "pictures", patience_s=600)
    for message in (sent[3], b"\xff", sent[0], sent[0], sent[2], sent[2], sent[1]):
        inbox.take(message)
    (name,) = pictures(inbox.folder)
    with Image.open(inbox.folder / name) as image:
        found = onedc.info(join(sent).data)
        assert image.size == (found.width, found.height)
    inbox.tidy(closing=True)
    assert pictures(inbox.folder) == [name]


def test_what_came_before_a_hole_is_shown_when_the_channel_closes(
    bot: ModuleType, sent: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = bot.Inbox(tmp_path, patience_s=600)
    inbox.take(sent[0])
    inbox.tidy()
    assert pictures(tmp_path) == []
    inbox.tidy(closing=True)
    assert [name.endswith("-part.png") for name in pictures(tmp_path)] == [True]
    inbox.take(sent[1])
    inbox.tidy(closing=True)
    assert "a picture is lost" in capsys.readouterr().out


def test_tcp_frames_arrive_whole_however_they_are_cut(bot: ModuleType) -> None:
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    received: list[bytes] = []

    def listen() -> None:
        channel = bot.transport_of(f"tcp-listen:{port}")
        received.extend(message for message in channel.receive() if message is not None)

    listener = Thread(target=listen)
    listener.start()
    sender = connected(bot, port)
    for message in (b"", b"a", bytes(range(256)) * 20):
        sender.send(message)
    sender._socket.close()
    listener.join(timeout=30)
    assert received == [b"", b"a", bytes(range(256)) * 20]


def connected(bot: ModuleType, port: int) -> Any:
    for _ in range(100):
        try:
            return bot.transport_of(f"tcp:localhost:{port}")
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("nothing listens")


@pytest.fixture
def radio(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The parts of Meshtastic's package that the bot takes, and what happens to them."""
    state = SimpleNamespace(sent=[], note=None)
    serial = SimpleNamespace(
        SerialInterface=lambda: SimpleNamespace(
            sendData=lambda data, **given: state.sent.append((data, given["portNum"]))
        )
    )
    package = ModuleType("meshtastic")
    package.serial_interface = serial  # type: ignore[attr-defined]
    bus = SimpleNamespace(subscribe=lambda note, topic: setattr(state, "note", note))
    for name, module in {
        "meshtastic": package,
        "meshtastic.serial_interface": serial,
        "meshtastic.protobuf": ModuleType("meshtastic.protobuf"),
        "meshtastic.protobuf.portnums_pb2": SimpleNamespace(PRIVATE_APP=256),
        "pubsub": SimpleNamespace(pub=bus),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    yield state


def test_a_radio_gets_packets_of_the_private_port_and_takes_no_others(
    bot: ModuleType, radio: SimpleNamespace
) -> None:
    channel = bot.transport_of("meshtastic")
    channel.send(b"abc")
    assert radio.sent == [(b"abc", 256)]
    radio.note(packet={"decoded": {"portnum": "TEXT_MESSAGE_APP", "payload": b"hello"}}, interface=None)
    radio.note(packet={}, interface=None)
    radio.note(packet={"decoded": {"portnum": "PRIVATE_APP", "payload": b"xyz"}}, interface=None)
    assert next(iter(channel.receive())) == b"xyz"


@pytest.mark.parametrize("over", ["tcp:localhost", "tcp-listen:x", "smoke", "meshtastic:1"])
def test_other_channels_are_refused_in_one_line(bot: ModuleType, over: str) -> None:
    with pytest.raises(SystemExit, match=f"^--over {over}: is none of"):
        bot.transport_of(over)


def test_a_radio_without_its_package_names_it(bot: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meshtastic", None)
    with pytest.raises(SystemExit, match="pip install meshtastic"):
        bot.transport_of("meshtastic")


def test_airtime_is_that_of_the_makers_calculator() -> None:
    airtime_s = loaded("lora_airtime").airtime_s
    radio = {"bandwidth_khz": 125, "coding_rate": 5, "preamble": 8}
    assert airtime_s(20, sf=7, **radio) == pytest.approx(0.056576)
    assert airtime_s(20, sf=12, **radio) == pytest.approx(1.318912)
