"""Shows what systemd is told, on a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hundredfold_coordinator import systemd


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        yield receiver


def test_it_is_told_over_a_file(receiver: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    systemd.notify("READY=1")
    systemd.notify("STOPPING=1")
    assert [receiver.recv(100), receiver.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_it_is_told_over_an_abstract_address(receiver: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"hundredfold-test-{os.getpid()}"
    receiver.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    systemd.notify("READY=1")
    assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, ""])
def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


def test_who_cannot_be_told_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.notify("READY=1")
