"""What every containment can do, for the host that launches and ends attempts.

A containment makes one group for each attempt. The worker joins it before anything else, so that all it starts is in
it; whatever a group cannot do for itself, the host's monitor and sweep do.

See also: `choice`, which finds out what this machine gives; docs/adr/0010 for what was weighed.
"""

from typing import Protocol

from hundredfold.v1 import attempt_pb2, policy_pb2


class Group(Protocol):
    """What holds one attempt's process tree.

    Attributes:
        kind: what it is.
        limits: those that hold.
        memory_enforcer: what holds the memory limit.
        process_enforcer: what holds the limit of processes.

    """

    kind: attempt_pb2.Containment.ValueType
    limits: policy_pb2.Limits
    memory_enforcer: attempt_pb2.Enforcer.ValueType
    process_enforcer: attempt_pb2.Enforcer.ValueType

    def join_files(self, *, threads: bool) -> list[int]:
        """Return descriptors that a process writes `0` to in order to join, `threads` if it has several.

        Raises:
            OSError: there are no descriptors left.

        """

    def kill(self) -> set[int]:
        """Send SIGKILL to everything in it; return the pids of what there was. Call it again until there is nothing."""

    def memory_kills(self) -> int:
        """Return how often the kernel has ended a process of it for its memory limit."""

    def release(self) -> None:
        """Give it back; nothing is in it any more that can be killed."""


class Containment(Protocol):
    """Makes groups."""

    def make(self, limits: policy_pb2.Limits) -> Group:
        """Return a group in which `limits` hold, or are said to be left to the host. Never raises."""

    def close(self) -> None:
        """Remove what was made for all groups."""
