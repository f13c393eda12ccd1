"""The edge of every service: exceptions become typed statuses, and TCP callers need a token.

gRPC's own mapping is not good enough: `SystemExit` in a handler ends the server, and a long exception text becomes
`RESOURCE_EXHAUSTED`.
"""

import asyncio
import hmac
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from hundredfold.errors import HundredfoldError, InternalError, InvalidArgument, Unauthenticated
from hundredfold.status import to_status

_log: Final = logging.getLogger(__name__)
_Handler = Any
"""A `grpc.RpcMethodHandler`, which is generic for type checkers only."""


class Edge:
    """A server's front: what is registered here is served there, with every method wrapped once.

    Wrapping at registration costs nothing per call, unlike an interceptor. `tcp_token` is what callers over TCP must
    show; None if the server is bound to a Unix socket only.
    """

    def __init__(self, server: grpc.aio.Server, tcp_token: str | None = None) -> None:
        self._server = server
        self._tcp_token = tcp_token

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Serve handlers; generated code calls this."""
        self._server.add_generic_rpc_handlers([_Wrapped(handler, self._wrap) for handler in handlers])

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Do nothing: generated code offers the same methods a second time here."""

    def _wrap(self, handler: Any) -> _Handler:
        parse, serialize = handler.request_deserializer, handler.response_serializer
        if handler.request_streaming:
            streaming = self._streaming(handler.stream_stream, lambda requests: requests)
            return grpc.stream_stream_rpc_method_handler(streaming, parse, serialize)
        # Requests are parsed inside, where a malformed one can be answered with a typed error.
        if handler.response_streaming:
            streaming = self._streaming(handler.unary_stream, lambda data: _parse(parse, data))
            return grpc.unary_stream_rpc_method_handler(streaming, None, serialize)
        unary = self._unary(handler.unary_unary, lambda data: _parse(parse, data))
        return grpc.unary_unary_rpc_method_handler(unary, None, serialize)

    def _unary(self, inner: Callable[[Any, Any], Awaitable[Any]], parse: Callable[[Any], Any]) -> Any:
        async def call(data: Any, context: Any) -> Any:
            try:
                self._admit(context)
                return await inner(parse(data), context)
            except BaseException as error:  # noqa: BLE001  # this is the boundary
                await _abort(context, error)

        return call

    def _streaming(self, inner: Callable[[Any, Any], Any], parse: Callable[[Any], Any]) -> Any:
        async def call(data: Any, context: Any) -> AsyncIterator[Any]:
            try:
                self._admit(context)
                responses = inner(parse(data), context)
                if inspect.isawaitable(responses):
                    await responses  # it writes to the context itself
                    return
                async for response in responses:
                    yield response
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001  # this is the boundary
                await _abort(context, error)

        return call

    def _admit(self, context: Any) -> None:
        if self._tcp_token is None or context.peer().startswith("unix:"):
            return  # its directory lets nobody else in
        shown = bearer(context)
        if not hmac.compare_digest(shown.encode(), self._tcp_token.encode()):
            raise Unauthenticated


class _Wrapped(grpc.GenericRpcHandler):
    """Handlers whose methods are wrapped when they are first called."""

    def __init__(self, inner: grpc.GenericRpcHandler, wrap: Callable[[Any], _Handler]) -> None:
        self._inner = inner
        self._wrap = wrap
        self._methods: dict[str, _Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """Return the method that is called; None if it is not one of these."""
        name = handler_call_details.method
        if name not in self._methods:
            handler = self._inner.service(handler_call_details)
            if handler is None:
                return None  # unknown names are not remembered: anybody could fill this table with them
            self._methods[name] = self._wrap(handler)
        return self._methods[name]


def bearer(context: Any) -> str:
    """Return the secret that a caller shows; empty if there is none."""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return str(value).removeprefix("Bearer ")
    return ""


def _parse(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return parse(data)
    except DecodeError as error:
        raise InvalidArgument("request", f"is not a message of this method: {error}") from error


async def _abort(context: Any, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError | grpc.aio.AbortError) or context.cancelled():
        raise error  # the caller has gone away, the server stops, or gRPC's own health service has said no
    if not isinstance(error, HundredfoldError):
        _log.error("a handler failed", exc_info=error)
        error = InternalError(f"{type(error).__name__}: {error}")
    await context.abort_with_status(rpc_status.to_status(to_status(error)))
