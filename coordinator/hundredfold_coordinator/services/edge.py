"""The edge of every service: exceptions become typed statuses, and TCP callers need a token.

gRPC's own mapping is not good enough: `SystemExit` in a handler ends the server, and a long exception text becomes
`RESOURCE_EXHAUSTED`.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from grpc_status import rpc_status
from hundredfold.errors import HundredfoldError, InternalError, Unauthenticated
from hundredfold.status import to_status

_log: Final = logging.getLogger(__name__)
_Handler = Any
"""A `grpc.RpcMethodHandler`, which is generic for type checkers only."""


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every method once; `tcp_token` is what callers over TCP must show, None if none may call."""

    def __init__(self, tcp_token: str | None = None) -> None:
        self._tcp_token = tcp_token
        self._wrapped: dict[str, _Handler | None] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Return the wrapped method."""
        name = handler_call_details.method
        if name not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None  # unknown methods are not remembered: anybody could fill this table with them
            self._wrapped[name] = self._wrap(handler)
        return self._wrapped[name]

    def _wrap(self, handler: Any) -> _Handler:
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream
            make: Any = grpc.stream_stream_rpc_method_handler
            if not handler.request_streaming:
                make = grpc.unary_stream_rpc_method_handler
            wrapped: Any = self._streaming(inner)
        else:
            make, wrapped = grpc.unary_unary_rpc_method_handler, self._unary(handler.unary_unary)
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _unary(self, inner: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(request: Any, context: Any) -> Any:
            try:
                self._admit(context)
                return await inner(request, context)
            except BaseException as error:  # noqa: BLE001  # this is the boundary
                await _abort(context, error)

        return call

    def _streaming(self, inner: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                self._admit(context)
                async for response in inner(request, context):
                    yield response
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001  # this is the boundary
                await _abort(context, error)

        return call

    def _admit(self, context: Any) -> None:
        if context.peer().startswith("unix:"):
            return  # its directory lets nobody else in
        shown = bearer(context)
        if self._tcp_token is None or not hmac.compare_digest(shown.encode(), self._tcp_token.encode()):
            raise Unauthenticated


def bearer(context: Any) -> str:
    """Return the secret that a caller shows; empty if there is none."""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return str(value).removeprefix("Bearer ")
    return ""


async def _abort(context: Any, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError | grpc.aio.AbortError) or context.cancelled():
        raise error  # the caller has gone away, the server stops, or gRPC's own health service has said no
    if not isinstance(error, HundredfoldError):
        _log.error("a handler failed", exc_info=error)
        error = InternalError(f"{type(error).__name__}: {error}")
    await context.abort_with_status(rpc_status.to_status(to_status(error)))
