"""Sessions, for clients: `client.sessions`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from hundredfold.session import Item, Json, SessionSnapshot
from hundredfold.v1 import session_pb2, session_service_pb2_grpc
from hundredfold.v1 import session_service_pb2 as pb
from hundredfold.wire import item_message, item_of, snapshot_of, texts_of

_Response = TypeVar("_Response")
_PAGE: Final = 1000


class Caller(Protocol):
    """Makes a call and turns what gRPC raises into typed errors."""

    def __call__(self, method: Callable[..., Awaitable[_Response]], request: Any) -> Awaitable[_Response]:
        """Make the call."""


class SessionCalls:
    """The calls of `SessionService`."""

    def __init__(self, channel: Any, call: Caller) -> None:
        self._stub: Any = session_service_pb2_grpc.SessionServiceStub(channel)
        self._call = call

    async def get(self, session_id: str, *, after: int = 0, limit: int = 0) -> SessionSnapshot:
        """Return a session with the items behind number `after`, at most `limit` of them, 1,000 if that is 0."""
        request = pb.GetSessionRequest(session_id=session_id, after=after, limit=limit)
        response: pb.GetSessionResponse = await self._call(self._stub.GetSession, request)
        return snapshot_of(response.session)

    async def list(self, prefix: str = "") -> AsyncIterator[SessionSnapshot]:
        """Yield the sessions whose names begin with a prefix, by name, without items and state."""
        token = ""
        while True:
            request = pb.ListSessionsRequest(prefix=prefix, page_size=_PAGE, page_token=token)
            response: pb.ListSessionsResponse = await self._call(self._stub.ListSessions, request)
            for session in response.sessions:
                yield snapshot_of(session)
            token = response.next_page_token
            if not token:
                return

    async def commit(
        self,
        session_id: str,
        append: Iterable[Item] = (),
        *,
        set: Mapping[str, Json] | None = None,  # noqa: A002  # the field's name
        delete: Sequence[str] = (),
        expected_version: int | None = None,
        request_id: str = "",
    ) -> int:
        """Write a session in one commit; return the version that it has now.

        Args:
            session_id: its name.
            append: items to append; only role, content and metadata of them count.
            set: keys of the state to set.
            delete: keys of the state to delete.
            expected_version: the version that was read; None to write whatever version there is.
            request_id: recognises a repetition.

        Raises:
            SessionConflict: it has another version.
            TypeError, ValueError: a value is no JSON.

        """
        writes = session_pb2.SessionWrites(
            expected_version=expected_version or 0,
            append=[item_message(item) for item in append],
            set=texts_of(set or {}),
            delete=delete,
            merge=expected_version is None,
        )
        request = pb.CommitSessionRequest(session_id=session_id, writes=writes, request_id=request_id)
        response: pb.CommitSessionResponse = await self._call(self._stub.CommitSession, request)
        return response.version

    async def search(self, session_id: str, query: str, *, limit: int = 0, role: str = "") -> Sequence[Item]:
        """Return the items that have every word of a query, newest first, at most `limit`, 20 if that is 0."""
        request = pb.SearchSessionRequest(session_id=session_id, query=query, limit=limit, role=role)
        response: pb.SearchSessionResponse = await self._call(self._stub.SearchSession, request)
        return [item_of(item) for item in response.items]

    async def delete(self, session_id: str) -> None:
        """Delete a session with everything in it.

        Raises:
            SessionBusy: a task of it runs or waits.
            UnknownSession: there is none.

        """
        await self._call(self._stub.DeleteSession, pb.DeleteSessionRequest(session_id=session_id))
