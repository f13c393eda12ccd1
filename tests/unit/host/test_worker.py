"""Shows what ends a worker and what its receipt says, with real processes in place of agents."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold_host import receipt
from hundredfold_host.containment.session import SessionGroup
from hundredfold_host.output import OutputPipe
from hundredfold_host.worker import Exit, Worker

REQUESTED, WALL_LIMIT = attempt_pb2.KILL_CAUSE_REQUESTED, attempt_pb2.KILL_CAUSE_WALL_LIMIT
MEMORY_LIMIT, PROCESS_LIMIT = attempt_pb2.KILL_CAUSE_MEMORY_LIMIT, attempt_pb2.KILL_CAUSE_PROCESS_LIMIT


class KernelGroup(SessionGroup):
    """A group whose memory the kernel holds; `kills` is what it counts."""

    def __init__(self, limits: policy_pb2.Limits) -> None:
        super().__init__(policy_pb2.Limits(memory_bytes=limits.memory_bytes))
        self.memory_enforcer = attempt_pb2.ENFORCER_CGROUP
        self.kills = 0
        self.released = False

    def memory_kills(self) -> int:
        return self.kills

    def release(self) -> None:
        self.released = True


class Run:
    """One worker on a `sleep` that is deaf to SIGTERM, until it is reaped."""

    def __init__(self, limits: policy_pb2.Limits, group: type[SessionGroup], grace: int) -> None:
        pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {}, setsigmask=[signal.SIGTERM])
        launch = host_service_pb2.Launch(limits=limits)
        launch.grace.FromMilliseconds(grace)
        pipes = (OutputPipe(task_pb2.OUTPUT_STREAM_STDOUT), OutputPipe(task_pb2.OUTPUT_STREAM_STDERR))
        for pipe in pipes:
            os.close(pipe.writer)
        self._exited = asyncio.Event()
        self.worker = Worker(launch, pid, pipes, group(limits), lambda _: self._exited.set())

    async def receipt(self, survivors: int = 0, max_rss_bytes: int = 0) -> attempt_pb2.Receipt:
        await asyncio.wait_for(self._exited.wait(), 10)
        self.worker.reaped(replace(_reap(self.worker.pid), max_rss_bytes=max_rss_bytes))
        return receipt.write(self.worker, survivors)


def _reap(pid: int) -> Exit:
    return Exit(os.waitpid(pid, 0)[1])


@pytest.fixture
def run() -> Callable[..., Run]:
    """Start a worker; options are those of `Limits`, in milliseconds where they are times."""

    def start(
        group: type[SessionGroup] = SessionGroup, grace: int = 0, wall: int = 0, cpu: int = 0, **limits: int
    ) -> Run:
        wanted = policy_pb2.Limits(**limits)
        if wall:
            wanted.wall_time.FromMilliseconds(wall)
        if cpu:
            wanted.cpu_time.FromMilliseconds(cpu)
        return Run(wanted, group, grace)

    return start


async def test_the_first_cause_counts(run: Callable[..., Run]) -> None:
    one = run()
    one.worker.end(REQUESTED, 60)
    one.worker.end(MEMORY_LIMIT, 0)
    told = await one.receipt()
    assert (told.kill_cause, list(told.kill_signals), told.signal) == (REQUESTED, ["TERM", "KILL"], signal.SIGKILL)


async def test_what_comes_after_the_end_is_no_cause(run: Callable[..., Run]) -> None:
    one = run()
    os.kill(one.worker.pid, signal.SIGKILL)
    await asyncio.wait_for(one._exited.wait(), 10)
    one.worker.end(REQUESTED, 0)
    told = await one.receipt()
    assert (told.kill_cause, list(told.kill_signals)) == (attempt_pb2.KILL_CAUSE_UNSPECIFIED, [])


async def test_being_told_again_is_no_respite(run: Callable[..., Run]) -> None:
    one = run(wall=200, grace=60_000)
    one.worker.end(REQUESTED, 0.4)
    begin = time.monotonic()
    await one.receipt()
    assert time.monotonic() - begin < 5


async def test_a_wall_limit_ends_it(run: Callable[..., Run]) -> None:
    told = await run(wall=100).receipt()
    assert (told.kill_cause, list(told.kill_signals)) == (WALL_LIMIT, ["KILL"])
    assert told.effective_limits.wall_time.ToMilliseconds() == 100


async def test_without_a_limit_nothing_ends_it(run: Callable[..., Run]) -> None:
    one = run()
    one.worker.use.pss_bytes, one.worker.use.threads = 1 << 40, 1 << 20
    one.worker.enforce_memory()
    one.worker.enforce_processes()
    assert not one.worker.cause
    one.worker.end(REQUESTED, 0)
    assert (await one.receipt()).memory_enforcer == attempt_pb2.ENFORCER_UNSPECIFIED


async def test_what_is_seen_above_a_limit_is_ended(run: Callable[..., Run]) -> None:
    for field, enforce, cause in (
        ("pss_bytes", Worker.enforce_memory, MEMORY_LIMIT),
        ("threads", Worker.enforce_processes, PROCESS_LIMIT),
    ):
        one = run(memory_bytes=100, processes=100)
        setattr(one.worker.use, field, 100)
        enforce(one.worker)
        assert not one.worker.cause, "a limit may be reached"
        setattr(one.worker.use, field, 101)
        enforce(one.worker)
        assert (await one.receipt()).kill_cause == cause


async def test_a_kill_of_the_kernel_is_told_by_its_count(run: Callable[..., Run]) -> None:
    one = run(KernelGroup, memory_bytes=100)
    one.worker.group.kills = 1  # type: ignore[attr-defined]
    os.kill(one.worker.pid, signal.SIGKILL)
    told = await one.receipt()
    assert (told.kill_cause, list(told.kill_signals)) == (MEMORY_LIMIT, [])
    assert told.memory_enforcer == attempt_pb2.ENFORCER_CGROUP
    assert one.worker.group.released  # type: ignore[attr-defined]


async def test_a_kill_of_somebody_else_is_not(run: Callable[..., Run]) -> None:
    one = run(KernelGroup, memory_bytes=100)
    os.kill(one.worker.pid, signal.SIGKILL)
    assert (await one.receipt()).kill_cause == attempt_pb2.KILL_CAUSE_UNSPECIFIED


async def test_the_kernel_may_have_killed_a_child_only(run: Callable[..., Run]) -> None:
    one = run(KernelGroup, memory_bytes=100)
    one.worker.group.kills = 1  # type: ignore[attr-defined]
    one.worker.enforce_memory()
    assert (await one.receipt()).kill_cause == MEMORY_LIMIT


async def test_children_are_those_seen_or_those_left(run: Callable[..., Run]) -> None:
    for seen, left, wanted in ((1, set(), 0), (4, {1}, 3), (1, {1, 2}, 2)):
        one = run()
        one.worker.use.most_processes, one.worker.leftovers = seen, left
        one.worker.end(REQUESTED, 0)
        told = await one.receipt(survivors=5)
        assert (told.children_seen, told.leftovers_killed, told.survivors) == (wanted, len(left), 5)


async def test_who_is_evicted_is_ended_at_once_and_told_why(run: Callable[..., Run]) -> None:
    one = run(grace=60_000)
    one.worker.evict("the machine ran short")
    assert one.worker.ending
    told = await one.receipt()
    assert (told.kill_cause, list(told.kill_signals)) == (attempt_pb2.KILL_CAUSE_EVICTED, ["KILL"])
    assert told.eviction == "the machine ran short"


async def test_what_is_seen_above_a_ceiling_is_ended(run: Callable[..., Run]) -> None:
    one = run(cpu=300)
    one.worker.use.cpu_seconds = 0.3
    one.worker.enforce_use()
    assert not one.worker.cause, "a limit may be reached"
    one.worker.use.cpu_seconds = 0.31
    one.worker.enforce_use()
    assert (await one.receipt()).kill_cause == attempt_pb2.KILL_CAUSE_CPU_LIMIT
    one = run(output_bytes=100)
    one.worker.pipes[0].total, one.worker.pipes[1].total = 60, 40
    one.worker.enforce_use()
    assert not one.worker.cause
    one.worker.pipes[1].total = 41
    one.worker.enforce_use()
    assert (await one.receipt()).kill_cause == attempt_pb2.KILL_CAUSE_OUTPUT_LIMIT


async def test_what_has_no_ceiling_may_go_on(run: Callable[..., Run]) -> None:
    one = run()
    one.worker.use.cpu_seconds = one.worker.pipes[0].total = 1 << 40
    one.worker.enforce_use()
    assert not one.worker.cause
    one.worker.end(REQUESTED, 0)
    await one.receipt()


async def test_a_receipt_names_what_holds_each_limit(run: Callable[..., Run]) -> None:
    polling, rlimit, nothing = (
        attempt_pb2.ENFORCER_POLLING,
        attempt_pb2.ENFORCER_RLIMIT,
        attempt_pb2.ENFORCER_UNSPECIFIED,
    )
    limits = {"memory_bytes": 100, "processes": 9, "cpu": 300, "output_bytes": 7, "descriptors": 32}
    cgroup = attempt_pb2.ENFORCER_CGROUP
    for group, wanted, enforcers in (
        (SessionGroup, limits, [polling] * 4 + [rlimit]),
        (SessionGroup, {}, [nothing] * 5),
        (KernelGroup, limits, [cgroup, nothing, polling, polling, rlimit]),
    ):
        one = run(group, **wanted)
        one.worker.end(REQUESTED, 0)
        told = await one.receipt()
        assert [
            told.memory_enforcer,
            told.process_enforcer,
            told.cpu_enforcer,
            told.output_enforcer,
            told.descriptor_enforcer,
        ] == enforcers
        effective = told.effective_limits
        assert (effective.cpu_time.ToMilliseconds(), effective.output_bytes, effective.descriptors) == tuple(
            wanted.get(field, 0) for field in ("cpu", "output_bytes", "descriptors")
        )


async def test_what_it_has_inherited_is_not_its_own(run: Callable[..., Run]) -> None:
    for inherited, private in ((30, 70), (200, 0)):
        one = run()
        one.worker.inherited_bytes = inherited
        one.worker.end(REQUESTED, 0)
        assert (await one.receipt(max_rss_bytes=100)).max_private_bytes == private
