"""The behaviour that the clients in other languages ask for."""

from hundredfold import Context, behaviour


@behaviour
async def greet(ctx: Context, name: str, times: int = 1) -> dict[str, str]:
    """Greet somebody, and count aloud meanwhile."""
    for number in range(1, times + 1):
        ctx.emit({"number": number})
    return {"greeting": f"Hello, {name}!"}
