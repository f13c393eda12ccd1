"""Shows who gets which news, what the slow ones lose, and that nothing is kept for those who have left."""

import asyncio

import pytest
from hundredfold.v1 import task_pb2
from hundredfold_coordinator.core.effects import Announce
from hundredfold_coordinator.core.state import AttemptId
from hundredfold_coordinator.hub import Hub, Mailbox

ATTEMPT = ("t1", 1)
LIMIT = 256


class Host:
    """Remembers which attempts are to send their output."""

    def __init__(self) -> None:
        self.followed: set[AttemptId] = set()
        self.asked = 0

    def __call__(self, attempt: AttemptId, *, on: bool) -> None:
        self.asked += 1
        if on:
            self.followed.add(attempt)
        else:
            self.followed.remove(attempt)


def news(task_id: str) -> Announce:
    return Announce(task_pb2.Task(id=task_id), None)


def output(text: str) -> task_pb2.Output:
    return task_pb2.Output(stream=task_pb2.OUTPUT_STREAM_STDOUT, data=text.encode())


def texts(mailbox: Mailbox) -> list[bytes]:
    return [event.output.data for event in mailbox.output]


async def notified(mailbox: Mailbox) -> bool:
    """Whether there is news that was not looked at yet."""
    try:
        async with asyncio.timeout(0):
            await mailbox.wait()
    except TimeoutError:
        return False
    return True


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def hub(host: Host) -> Hub:
    return Hub(host)


# Events and ends ------------------------------------------------------------------------------------------------------


async def test_watchers_of_a_task_are_notified(hub: Hub) -> None:
    with hub.watching("t1") as first, hub.watching("t1") as second, hub.watching("t2") as other:
        hub.publish("t1")
        assert [await notified(mailbox) for mailbox in (first, second, other)] == [True, True, False]


async def test_news_are_news_once(hub: Hub) -> None:
    with hub.watching("t1") as mailbox:
        hub.publish("t1")
        hub.publish("t1")
        assert await notified(mailbox)
        assert not await notified(mailbox)


async def test_who_waits_is_woken(hub: Hub) -> None:
    with hub.watching("t1") as mailbox:
        waiting = asyncio.ensure_future(mailbox.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        hub.publish("t1")
        await waiting


async def test_waiters_get_each_task_that_ends(hub: Hub) -> None:
    with hub.waiting(["t1", "t2"]) as mailbox:
        for task_id in ("t2", "t3", "t1"):
            hub.announce(news(task_id))
        assert [one.task.id for one in mailbox.ended] == ["t2", "t1"]
        assert await notified(mailbox)


async def test_a_task_that_is_named_twice_is_told_once(hub: Hub) -> None:
    with hub.waiting(["t1", "t1"]) as mailbox:
        hub.announce(news("t1"))
        assert len(mailbox.ended) == 1


async def test_watching_is_not_waiting(hub: Hub) -> None:
    with hub.watching("t1") as watcher, hub.waiting(["t1"]) as waiter:
        hub.announce(news("t1"))
        assert (watcher.ended, len(waiter.ended)) == ([], 1)
        assert not await notified(watcher)


async def test_who_leaves_is_forgotten(hub: Hub) -> None:
    with hub.watching("t1"), hub.waiting(["t1", "t1", "t2"]):
        pass
    with pytest.raises(ZeroDivisionError), hub.watching("t1"):
        _ = 1 / 0
    hub.publish("t1")
    hub.announce(news("t1"))
    assert (dict(hub._watchers), dict(hub._waiters)) == ({}, {})


async def test_who_leaves_takes_nobody_along(hub: Hub) -> None:
    with hub.waiting(["t1"]) as stays:
        with hub.waiting(["t1"]):
            pass
        hub.announce(news("t1"))
        assert len(stays.ended) == 1


# Output ---------------------------------------------------------------------------------------------------------------


async def test_output_goes_to_those_who_follow(hub: Hub) -> None:
    mailbox, other = Mailbox(), Mailbox()
    hub.follow(ATTEMPT, mailbox)
    hub.follow(("t1", 2), other)
    hub.output(ATTEMPT, output("hello"))
    assert (texts(mailbox), texts(other)) == ([b"hello"], [])
    assert mailbox.output[0].attempt == 1
    assert mailbox.output[0].HasField("time")
    assert await notified(mailbox)


async def test_output_is_asked_for_while_anybody_follows(hub: Hub, host: Host) -> None:
    first, second = Mailbox(), Mailbox()
    hub.follow(ATTEMPT, first)
    hub.follow(ATTEMPT, second)
    assert host.followed == {ATTEMPT}
    hub.unfollow(ATTEMPT, first)
    assert host.followed == {ATTEMPT}
    hub.unfollow(ATTEMPT, second)
    assert host.followed == set()
    hub.output(ATTEMPT, output("late"))
    assert (first.output, second.output, dict(hub._followed)) == ([], [], {})


async def test_unfollowing_twice_does_no_harm(hub: Hub, host: Host) -> None:
    mailbox = Mailbox()
    hub.follow(ATTEMPT, mailbox)
    hub.unfollow(ATTEMPT, mailbox)
    asked = host.asked
    hub.unfollow(ATTEMPT, mailbox)
    assert host.asked == asked


async def test_a_second_follower_does_not_repeat_the_output_for_the_first(hub: Hub, host: Host) -> None:
    first, second = Mailbox(), Mailbox()
    hub.follow(ATTEMPT, first)
    hub.output(ATTEMPT, output("tail"))
    before = host.asked
    hub.follow(ATTEMPT, second)
    for _ in range(host.asked - before):
        hub.output(ATTEMPT, output("tail"))  # what a host does when it is asked
    assert texts(first) == [b"tail"]
    assert texts(second) == [b"tail"]


async def test_who_is_slow_loses_output_and_is_told_how_much(hub: Hub) -> None:
    mailbox = Mailbox()
    hub.follow(ATTEMPT, mailbox)
    for _ in range(LIMIT + 3):
        hub.output(ATTEMPT, output("12345"))
    assert len(mailbox.output) == LIMIT
    assert mailbox.output[-1].output.dropped_bytes == 15


async def test_what_a_host_has_dropped_is_added(hub: Hub) -> None:
    mailbox = Mailbox()
    hub.follow(ATTEMPT, mailbox)
    for _ in range(LIMIT):
        hub.output(ATTEMPT, output("1"))
    hub.output(ATTEMPT, task_pb2.Output(data=b"1", dropped_bytes=7))
    assert mailbox.output[-1].output.dropped_bytes == 8


async def test_what_one_loses_is_not_told_to_another(hub: Hub) -> None:
    slow, quick = Mailbox(), Mailbox()
    hub.follow(ATTEMPT, slow)
    for _ in range(LIMIT - 1):
        hub.output(ATTEMPT, output("1"))
    hub.follow(ATTEMPT, quick)
    for _ in range(2):
        hub.output(ATTEMPT, output("2"))
    assert slow.output[-1].output.dropped_bytes == 1
    assert [(event.output.data, event.output.dropped_bytes) for event in quick.output[-2:]] == [(b"2", 0)] * 2


async def test_who_comes_later_gets_the_tail_and_is_told_what_is_missing(hub: Hub) -> None:
    first, second = Mailbox(), Mailbox()
    hub.follow(ATTEMPT, first)
    for number in range(100):
        hub.output(ATTEMPT, output(f"{number:02}"))
    hub.follow(ATTEMPT, second)
    hub.output(ATTEMPT, output("end"))
    assert texts(second) == [b"%02d" % number for number in range(36, 100)] + [b"end"]
    assert [event.output.dropped_bytes for event in second.output] == [2 * 36] + [0] * 64
