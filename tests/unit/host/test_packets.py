"""Packets: any number both ways at once, with descriptors, and nobody waits for anybody."""

import asyncio
import os
import socket

from hundredfold_host.packets import Packets

MANY = 3000
"""More than a socket holds."""


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


async def until(condition: "asyncio.Event") -> None:
    async with asyncio.timeout(10):
        await condition.wait()


async def test_both_ends_send_more_than_the_socket_holds() -> None:
    done = asyncio.Event()
    got: dict[str, list[bytes]] = {"left": [], "right": []}

    def take(side: str, data: bytes) -> None:
        got[side].append(data)
        if all(len(packets) == MANY for packets in got.values()):
            done.set()

    one, other = pair()
    left = Packets(one, lambda data, _: take("left", data), done.set)
    right = Packets(other, lambda data, _: take("right", data), done.set)
    for number in range(MANY):
        left.send(b"l%d" % number)
        right.send(b"r%d" % number)
    await until(done)
    assert got["right"] == [b"l%d" % number for number in range(MANY)]
    assert got["left"] == [b"r%d" % number for number in range(MANY)]
    left.close()
    right.close()


async def test_a_descriptor_travels_and_is_closed_here() -> None:
    done = asyncio.Event()
    got: list[int] = []

    def take(_data: bytes, descriptors: list[int]) -> None:
        got.extend(descriptors)
        done.set()

    one, other = pair()
    left, right = Packets(one, lambda *_: None, done.set), Packets(other, take, done.set)
    reader, writer = os.pipe()
    left.send(b"here", [writer])
    await until(done)
    os.write(got[0], b"through")
    assert os.read(reader, 10) == b"through"
    for descriptor in (*got, reader):
        os.close(descriptor)
    left.close()
    right.close()


async def test_the_end_of_the_other_side_is_told_once() -> None:
    ends: list[str] = []
    done = asyncio.Event()

    def ended() -> None:
        ends.append("end")
        done.set()

    one, other = pair()
    left = Packets(one, lambda *_: None, ended)
    other.close()
    left.send(b"into nothing")
    await until(done)
    left.close()
    assert ends == ["end"]


async def test_closing_drops_what_was_not_sent() -> None:
    one, other = pair()
    left = Packets(one, lambda *_: None, lambda: None)
    readers = []
    for _ in range(400):
        reader, writer = os.pipe()
        readers.append(reader)
        left.send(b"x" * 4000, [writer])
    left.close()
    other.close()
    for reader in readers:
        assert os.read(reader, 1) == b"", "a writing end is still open"
        os.close(reader)
