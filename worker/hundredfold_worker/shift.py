"""A shift: the attempts of one worker. Most have one; a worker that stays has one after the other."""

import signal
from collections.abc import Callable, Mapping
from typing import Any

from hundredfold.behaviour import Behaviour
from hundredfold.embedder import Embedder
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_worker.context_port import Coordinator
from hundredfold_worker.kept_sessions import KeptSessions
from hundredfold_worker.runner import run_attempt


def work(
    channel: Coordinator,
    behaviours: dict[str, Behaviour[..., Any]],
    embedders: Mapping[str, Embedder],
    on_begin: Callable[[str], None],
) -> bool:
    """Take attempts and run them; `on_begin` is told what each is, and that there is none.

    Returns whether the last one delivered a result.

    Raises:
        Cancelled: it was asked to end; there is nothing to deliver.
        Refused: the coordinator does not want it any more.

    """
    kept, delivered = KeptSessions(), True
    assignment = channel.next_attempt()
    while True:
        if assignment.task_id:
            on_begin(f"{assignment.behaviour} {assignment.task_id}/{assignment.attempt}")
            delivered, following = run_attempt(channel, assignment, behaviours, embedders, kept)
        else:
            following = pb.NextAttemptResponse(stay=assignment.stay)
        if not (assignment.stay and following.stay):
            return delivered
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the attempt has left it ignored, to deliver in peace
        if following.task_id:
            assignment = following
        else:
            on_begin("idle")
            assignment = channel.next_attempt()
