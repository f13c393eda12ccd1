"""`SessionService`: the memory that tasks share, for clients."""

from hashlib import sha256
from typing import Any, Final

from hundredfold.bounds import check_name
from hundredfold.errors import InvalidArgument, PayloadTooLarge
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Entry
from hundredfold.v1 import session_pb2, session_service_pb2_grpc
from hundredfold.v1 import session_service_pb2 as pb

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import events
from hundredfold_coordinator.core.door import shut
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.deletions import Deletions
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.pages import pages
from hundredfold_coordinator.services import page_token
from hundredfold_coordinator.services.numbers import within
from hundredfold_coordinator.sessions import Sessions, check_writes, view
from hundredfold_coordinator.storage import Storage

MOST_ITEMS: Final = 10_000
DEFAULT_ITEMS: Final = 1000
MOST_FOUND: Final = 1000
DEFAULT_FOUND: Final = 20
_MOST_SESSIONS: Final = 1000
_READ_BYTES: Final = 8 << 20
_DEFAULT_SESSIONS: Final = 100


class SessionService(session_service_pb2_grpc.SessionServiceServicer):
    """See `proto/hundredfold/v1/session_service.proto`."""

    def __init__(
        self,
        state: State,
        storage: Storage,
        journal: Journal,
        sessions: Sessions,
        deletions: Deletions,
        max_payload_bytes: int,
    ) -> None:
        self._state = state
        self._storage = storage
        self._journal = journal
        self._sessions = sessions
        self._deletions = deletions
        self._max_payload_bytes = max_payload_bytes

    async def GetSession(self, request: pb.GetSessionRequest, context: Any) -> pb.GetSessionResponse:
        """See the proto."""
        _check_id(request.session_id)
        limit = within("limit", request.limit, MOST_ITEMS, DEFAULT_ITEMS)
        return pb.GetSessionResponse(session=await self._sessions.read(request.session_id, request.after, limit))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Any) -> pb.ListSessionsResponse:
        """See the proto."""
        size = within("page_size", request.page_size, _MOST_SESSIONS, _DEFAULT_SESSIONS)
        prefix = keys.session(request.prefix)
        after = page_token.parse(request.page_token, prefix)
        response = pb.ListSessionsResponse()
        read = 0
        async for entries in pages(self._storage, prefix, after=after):
            for entry in entries:
                response.sessions.append(_without_state(entry))
                read += len(entry.record.value)
                # A page may be a short one: states, which are read along, can be megabytes each.
                if len(response.sessions) == size or read > _READ_BYTES:
                    response.next_page_token = page_token.make(entry.key)
                    return response
        return response

    async def CommitSession(self, request: pb.CommitSessionRequest, context: Any) -> pb.CommitSessionResponse:
        """See the proto."""
        self._admit()
        _check_id(request.session_id)
        check_name("request_id", request.request_id)
        if request.writes.ByteSize() > self._max_payload_bytes:
            raise PayloadTooLarge("writes", request.writes.ByteSize(), self._max_payload_bytes)
        check_writes("writes", request.writes)
        digest = sha256(request.writes.SerializeToString(deterministic=True)).digest()

        async def write(session: records_pb2.SessionRecord) -> int:
            version: int = await self._journal.ask(
                events.SessionWritten,
                session_id=request.session_id,
                session=session,
                writes=request.writes,
                request=records_pb2.SessionRequest(request_id=request.request_id, digest=digest),
            )
            return version

        return pb.CommitSessionResponse(version=await self._sessions.write(request.session_id, write))

    async def SearchSession(self, request: pb.SearchSessionRequest, context: Any) -> pb.SearchSessionResponse:
        """See the proto."""
        _check_id(request.session_id)
        limit = within("limit", request.limit, MOST_FOUND, DEFAULT_FOUND)
        found = await self._sessions.find(request.session_id, request.query, request.role, limit)
        return pb.SearchSessionResponse(items=found)

    async def DeleteSession(self, request: pb.DeleteSessionRequest, context: Any) -> pb.DeleteSessionResponse:
        """See the proto."""
        self._admit(frees_room=True)
        _check_id(request.session_id)

        async def delete(session: records_pb2.SessionRecord) -> None:
            await self._journal.ask(events.SessionDeleted, session_id=request.session_id, session=session)
            self._deletions.begin()

        await self._sessions.write(request.session_id, delete)
        return pb.DeleteSessionResponse()

    def _admit(self, *, frees_room: bool = False) -> None:
        """Refuse what cannot be written now: in its turn it may be behind a result that waits for the store."""
        if refused := shut(self._state, frees_room=frees_room):
            raise refused


def _without_state(entry: Entry) -> session_pb2.Session:
    session_id = entry.key.removeprefix(keys.SESSION).decode()
    session = view(session_id, records_pb2.SessionRecord.FromString(entry.record.value))
    session.state.clear()
    return session


def _check_id(session_id: str) -> None:
    check_name("session_id", session_id)
    if not session_id:
        raise InvalidArgument("session_id", "is empty")
