"""Shows the fakes that plugin authors test their behaviours with."""

from hundredfold import Context, Item, SyncContext
from hundredfold.memory import Match
from hundredfold.testing.context import FakePort, async_context, sync_context


def answer(ctx: SyncContext, text: str) -> int:
    ctx.emit({"asked": text})
    ctx.checkpoint(1)
    ctx.session.append("agent", text.upper())
    ctx.memory("facts").upsert("a", text)
    return len(ctx.session.search(text)) + len(ctx.memory("facts").search(text, where={"year": 1}))


async def answer_later(ctx: Context, text: str) -> int:
    await ctx.checkpoint(2)
    found = await ctx.session.search(text)
    return len(found) + len(await ctx.memory("facts").search(text))


def test_a_behaviour_runs_with_nobody_at_the_other_end() -> None:
    matches = {"facts": [Match("x", 0.1, metadata={"year": 1}), Match("y", 0.2)]}
    port = FakePort(items=[Item("user", "hello you"), Item("user", "bye")], matches=matches)
    ctx = sync_context(port, attempt=3)
    assert answer(ctx, "hello") == 2
    assert (port.events, port.checkpoints, ctx.attempt) == ([{"asked": "hello"}], [1], 3)
    assert [item.content for item in ctx.session.items()] == ["hello you", "bye", "HELLO"]
    assert ctx.memory("facts").upserted["a"].vector == [5.0]


async def test_an_async_one_does_too() -> None:
    assert await answer_later(async_context(FakePort(items=[Item("user", "hello")])), "hello") == 1
