"""Containment without any help: the worker's session, and the host as the parent of all that is left of it.

It asks for no privilege. Limits are held by the host's monitor, which looks several times a second and may be late.
"""

from hundredfold.v1 import attempt_pb2, policy_pb2

from hundredfold_host.containment.contract import Group


def polling(limit: float) -> attempt_pb2.Enforcer.ValueType:
    """Return what holds a limit that is left to the monitor."""
    return attempt_pb2.ENFORCER_POLLING if limit else attempt_pb2.ENFORCER_UNSPECIFIED


class SessionGroup:
    """A group that does nothing by itself."""

    def __init__(self, limits: policy_pb2.Limits) -> None:
        self.kind = attempt_pb2.CONTAINMENT_SESSION
        self.limits = limits
        self.memory_enforcer = polling(limits.memory_bytes)
        self.process_enforcer = polling(limits.processes)

    def join_files(self, *, threads: bool) -> list[int]:  # noqa: ARG002  # there is nothing to join
        """See `Group`."""
        return []

    def kill(self) -> set[int]:
        """See `Group`: what is left is found by the host's sweep."""
        return set()

    def memory_kills(self) -> int:
        """See `Group`."""
        return 0

    def release(self) -> None:
        """See `Group`."""


class Session:
    """Makes groups that do nothing by themselves."""

    def make(self, limits: policy_pb2.Limits) -> Group:
        """See `Containment`."""
        return SessionGroup(limits)

    def close(self) -> None:
        """See `Containment`."""
