"""Shows that a worker's gRPC is HTTP/2 as an independent implementation (h2) sees it, whatever the server says."""

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingAckReceived, RequestReceived, SettingsAcknowledged, StreamEnded
from h2.settings import SettingCodes
from hundredfold_worker import http2
from hundredfold_worker.transport import INTERNAL, OK, UNAVAILABLE, UNKNOWN, Reply, Transport

WAIT_SECONDS = 20
HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
ANSWER = b"\0\0\0\0\3abc"

Serve = Callable[["Server"], object]


class Server:
    """One connection's far end; h2 raises on everything that is not HTTP/2."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding=None))

    def begin(self, settings: dict[int, int] | None = None) -> None:
        self.http.initiate_connection()
        if settings:
            self.http.update_settings(settings)
        self.send()

    def request(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Take in one request, giving windows as it comes; return its stream, headers and body."""
        headers: dict[bytes, bytes] = {}
        body = b""
        while True:
            for event in self.http.receive_data(self.read()):
                if isinstance(event, RequestReceived):
                    headers = dict(event.headers)
                elif isinstance(event, DataReceived):
                    body += event.data
                    assert event.stream_id
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    assert event.stream_id
                    return event.stream_id, headers, body
            self.send()

    def answer(self, stream: int, data: bytes = ANSWER, trailers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.http.send_headers(stream, HEADERS)
        for start in range(0, len(data), 16_384):
            while self.http.local_flow_control_window(stream) < 16_384:
                self.http.receive_data(self.read())
            self.http.send_data(stream, data[start : start + 16_384])
            self.send()
        self.http.send_headers(stream, trailers or [(b"grpc-status", b"0")], end_stream=True)
        self.send()

    def read(self) -> bytes:
        data = self.wire.recv(65_536)
        assert data, "the client has gone"
        return data

    def send(self) -> None:
        self.wire.sendall(self.http.data_to_send())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


class World:
    """A transport, and servers that it finds one after the other; with none left, nobody is there."""

    def __init__(self, pool: ThreadPoolExecutor, *scripts: Serve) -> None:
        self._pool = pool
        self._scripts = list(scripts)
        self.transport = Transport(self._connect)
        self.running: list[Future[object]] = []

    def _connect(self) -> socket.socket:
        if not self._scripts:
            raise ConnectionRefusedError("nobody is there")
        ours, theirs = socket.socketpair()
        self.running.append(self._pool.submit(self._serve, self._scripts.pop(0), theirs))
        return ours

    @staticmethod
    def _serve(script: Serve, wire: socket.socket) -> None:
        with wire:
            wire.settimeout(WAIT_SECONDS)
            script(Server(wire))

    def call(self, request: bytes = b"request") -> Reply:
        return self.transport.call("/a.Service/Method", request, "secret")

    def end(self) -> None:
        self.transport.close()
        for future in self.running:
            future.result(WAIT_SECONDS)


@pytest.fixture
def world(pool: ThreadPoolExecutor) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(*scripts: Serve) -> World:
        worlds.append(World(pool, *scripts))
        return worlds[-1]

    yield make
    for one in worlds:
        one.end()


def answering(*, calls: int = 1, **how: Any) -> Serve:
    def script(server: Server) -> None:
        server.begin()
        for _ in range(calls):
            stream, _, _ = server.request()
            server.answer(stream, **how)

    return script


def test_a_call_is_a_grpc_request(world: Callable[..., World]) -> None:
    seen = []

    def script(server: Server) -> None:
        server.begin()
        stream, headers, body = server.request()
        seen.append((headers, body))
        server.answer(stream)

    assert world(script).call() == Reply(OK, data=b"abc")
    ((headers, body),) = seen
    assert headers == {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/a.Service/Method",
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc+proto",
        b"authorization": b"Bearer secret",
    }
    assert body == b"\0\0\0\0\7request"


def test_calls_share_a_connection(world: Callable[..., World]) -> None:
    here = world(answering(calls=3))
    assert [here.call().data for _ in range(3)] == [b"abc"] * 3
    assert len(here.running) == 1


def test_calls_of_several_threads_do_not_mix(world: Callable[..., World]) -> None:
    def echo(server: Server) -> None:
        server.begin()
        for _ in range(100):
            stream, _, body = server.request()
            server.answer(stream, body)

    here = world(echo)
    requests = [str(number).encode() for number in range(100)]
    with ThreadPoolExecutor(8) as callers:
        assert [reply.data for reply in callers.map(here.call, requests)] == requests


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 65_530, 65_531, 3_000_000])
def test_what_is_large_arrives_whole_both_ways(world: Callable[..., World], size: int) -> None:
    def echo(server: Server) -> None:
        server.begin()
        for _ in range(2):
            stream, _, body = server.request()
            server.answer(stream, body)

    here = world(echo)
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert [here.call(data).data for _ in range(2)] == [data, data], "the second call, too, has a window"


def test_a_server_may_want_small_frames_and_windows(world: Callable[..., World]) -> None:
    def stingy(server: Server) -> None:
        server.begin({SettingCodes.INITIAL_WINDOW_SIZE: 100, SettingCodes.MAX_FRAME_SIZE: 20_000})
        for _ in range(2):
            stream, _, body = server.request()
            server.answer(stream, body)

    here = world(stingy)
    assert [here.call(b"x" * 5000).data for _ in range(2)] == [b"x" * 5000] * 2


def test_a_server_may_ping_and_talk_of_other_things(world: Callable[..., World]) -> None:
    def script(server: Server) -> None:
        server.begin()
        stream, _, _ = server.request()
        server.http.ping(b"12345678")
        server.http.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        server.wire.sendall(server.http.data_to_send() + http2.frame(0xB, 0, 0, b"an unknown kind of frame"))
        server.http.send_headers(stream, HEADERS)
        server.http.send_data(stream, ANSWER, pad_length=10)
        server.http.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
        server.send()
        heard: set[type] = set()
        while not {PingAckReceived, SettingsAcknowledged} <= heard:
            heard |= set(map(type, server.http.receive_data(server.read())))

    assert world(script).call().data == b"abc"


def test_an_error_comes_with_its_status(world: Callable[..., World]) -> None:
    details = b"\x08\x05details \xff"
    trailers = [
        (b"grpc-status", b"5"),
        (b"grpc-message", b"no such task: %C3%A4%0A"),
        (b"grpc-status-details-bin", base64.b64encode(details).rstrip(b"=")),
    ]
    reply = world(answering(data=b"", trailers=trailers)).call()
    assert reply == Reply(5, "no such task: ä\n", details)


def test_a_status_may_come_without_a_body(world: Callable[..., World]) -> None:
    def script(server: Server) -> None:
        server.begin()
        stream, _, _ = server.request()
        server.http.send_headers(stream, [*HEADERS, (b"grpc-status", b"12")], end_stream=True)
        server.send()

    assert world(script).call().code == 12


def test_an_error_may_come_before_the_request_is_whole(world: Callable[..., World]) -> None:
    """A server that has read enough says so and reads no more: nobody may wait for a window then."""

    def script(server: Server) -> None:
        server.begin()
        while not any(isinstance(event, RequestReceived) for event in server.http.receive_data(server.read())):
            pass
        server.http.send_headers(
            1, [*HEADERS, (b"grpc-status", b"8"), (b"grpc-message", b"too large")], end_stream=True
        )
        server.send()
        while server.wire.recv(65_536):
            pass

    here = world(script)
    assert here.call(b"x" * 1_000_000) == Reply(8, "too large")


@pytest.mark.parametrize(("code", "expected"), [(0, UNAVAILABLE), (7, UNAVAILABLE), (8, UNAVAILABLE), (2, INTERNAL)])
def test_a_reset_is_an_answer(world: Callable[..., World], code: int, expected: int) -> None:
    def script(server: Server) -> None:
        server.begin()
        stream, _, _ = server.request()
        server.http.reset_stream(stream, code)
        server.send()

    assert world(script).call().code == expected


@pytest.mark.parametrize("headers", [[(b":status", b"503")], [*HEADERS, (b"grpc-status", b"what?")]], ids=str)
def test_what_is_no_grpc_is_unknown(world: Callable[..., World], headers: list[tuple[bytes, bytes]]) -> None:
    def script(server: Server) -> None:
        server.begin()
        stream, _, _ = server.request()
        server.http.send_headers(stream, headers, end_stream=True)
        server.send()

    assert world(script).call().code == UNKNOWN


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\1\0\0\0\3abc", b"\0\0\0\0\4abc", ANSWER * 2], ids=repr)
def test_what_is_not_one_message_is_an_error(world: Callable[..., World], data: bytes) -> None:
    assert world(answering(data=data)).call().code == INTERNAL


def test_long_headers_are_understood(world: Callable[..., World]) -> None:
    """Longer than a frame, they come in several."""
    trailers = [(b"grpc-status", b"2"), (b"grpc-message", b"x" * 40_000)]
    assert world(answering(data=b"", trailers=trailers)).call() == Reply(2, "x" * 40_000)


def test_long_secrets_are_sent(world: Callable[..., World]) -> None:
    seen = []

    def script(server: Server) -> None:
        server.begin()
        stream, headers, _ = server.request()
        seen.append(headers[b"authorization"])
        server.answer(stream)

    here = world(script, script, script)
    for size in (126 - 7, 127 - 7, 5000):
        here.transport.call("/a.Service/Method", b"", "s" * size)
        here.transport.close()
    assert [len(value) - 7 for value in seen] == [119, 120, 5000]


def test_nobody_is_unavailable(world: Callable[..., World]) -> None:
    assert world().call() == Reply(UNAVAILABLE, "nobody is there")


def test_a_broken_connection_is_unavailable_and_made_again(world: Callable[..., World]) -> None:
    def hang_up(server: Server) -> None:
        server.begin()
        server.request()

    here = world(hang_up, answering())
    assert here.call().code == UNAVAILABLE
    assert here.call().data == b"abc"


def test_a_connection_that_broke_between_calls_is_made_again(world: Callable[..., World]) -> None:
    here = world(answering(), answering())
    assert here.call().data == b"abc"
    here.running[0].result(WAIT_SECONDS)
    assert here.call().code == UNAVAILABLE
    assert here.call().data == b"abc"


def test_a_server_that_goes_away_answers_what_it_has_heard(world: Callable[..., World]) -> None:
    def leave(server: Server) -> None:
        server.begin()
        stream, _, _ = server.request()
        server.http.send_headers(stream, HEADERS)
        server.http.send_data(stream, ANSWER)
        server.wire.sendall(http2.frame(http2.GOAWAY, 0, 0, stream.to_bytes(4) + bytes(4)) + server.http.data_to_send())
        server.http.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
        server.send()

    here = world(leave, answering())
    assert [here.call().data, here.call().data] == [b"abc", b"abc"]
    assert len(here.running) == 2


def test_a_server_that_goes_away_does_not_answer_what_comes_later(world: Callable[..., World]) -> None:
    def leave(server: Server) -> None:
        server.begin()
        server.request()
        server.wire.sendall(http2.frame(http2.GOAWAY, 0, 0, bytes(8)))
        server.wire.recv(1)

    here = world(leave, answering())
    assert here.call().code == UNAVAILABLE
    assert here.call().data == b"abc"


def test_nonsense_is_unavailable(world: Callable[..., World]) -> None:
    def nonsense(server: Server) -> None:
        server.wire.sendall(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"))
        server.wire.recv(1)

    assert world(nonsense).call().code == UNAVAILABLE


class Interrupted(BaseException):
    pass


def test_an_interrupted_call_does_not_spoil_the_next(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, may_end = threading.Event(), threading.Event()

    def late(server: Server) -> None:
        server.begin()
        server.request()
        entered.set()
        may_end.wait(WAIT_SECONDS)

    here = world(late, answering())
    receive = http2.Connection._receive

    def interrupt(connection: http2.Connection, answer: http2.Answer) -> None:
        receive(connection, answer)  # the server's settings
        entered.wait(WAIT_SECONDS)
        raise Interrupted

    monkeypatch.setattr(http2.Connection, "_receive", interrupt)
    with pytest.raises(Interrupted):
        here.call()
    monkeypatch.undo()
    may_end.set()
    assert here.call().data == b"abc"
